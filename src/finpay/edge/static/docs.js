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
    if (request.method === "POST" && /\/transactions(\/batch)?$/.test(request.url)
        && !headers["X-Idempotency-Key"]) {
      // Not randomUUID: a page over plain HTTP on a phone in the same network has none.
      const random = crypto.getRandomValues(new Uint32Array(4));
      headers["X-Idempotency-Key"] = Array.from(random, (n) => n.toString(36)).join("");
    }
    return { ...request, headers };
  },
});
