"""Mails to users: an outbox row in the commit that causes one, sent by a worker over SMTP.

A mail has no text of another user. Its links stand on FINPAY_PUBLIC_URL, never on a Host header.
"""
