// Swagger UI over our own document. Nothing is loaded from another host.
window.ui = SwaggerUIBundle({
  url: "/openapi.json",
  dom_id: "#api",
  deepLinking: true,
  persistAuthorization: true,
  tryItOutEnabled: true,
  validatorUrl: null,
  // A fresh key for each payment that is tried without one.
  requestInterceptor: (request) => {
    const headers = request.headers || {};
    if (request.method === "POST" && /\/transactions$/.test(request.url)
        && !headers["X-Idempotency-Key"]) {
      headers["X-Idempotency-Key"] = crypto.randomUUID();
    }
    return { ...request, headers };
  },
});
