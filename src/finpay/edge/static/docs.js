// Swagger UI over our own document. Nothing is loaded from another host.
const KEY = "X-Idempotency-Key";

// The forms need no key: each request that is tried without one gets a fresh one.
const withOptionalKeys = (text) => {
  const document = JSON.parse(text);
  for (const methods of Object.values(document.paths)) {
    for (const operation of Object.values(methods)) {
      for (const parameter of operation.parameters) {
        parameter.required = parameter.required && parameter.name !== KEY;
      }
    }
  }
  return JSON.stringify(document);
};

window.ui = SwaggerUIBundle({
  url: "/openapi.json",
  dom_id: "#api",
  deepLinking: true,
  persistAuthorization: true,
  tryItOutEnabled: true,
  validatorUrl: null,
  requestInterceptor: (request) => {
    const headers = request.headers || {};
    if (request.method === "POST" && request.url.includes("/api/v1/") && !headers[KEY]) {
      // Not randomUUID: a page over plain HTTP on a phone in the same network has none.
      const random = crypto.getRandomValues(new Uint32Array(4));
      headers[KEY] = Array.from(random, (n) => n.toString(36)).join("");
    }
    return { ...request, headers };
  },
  responseInterceptor: (response) => {
    if (response.url.endsWith("/openapi.json")) {
      response.text = withOptionalKeys(response.text);
    }
    return response;
  },
});
