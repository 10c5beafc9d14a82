"""Guard against server-side request forgery: which URLs and addresses a webhook may reach."""
