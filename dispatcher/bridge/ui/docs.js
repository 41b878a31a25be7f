// Shows /openapi.json. Without `validatorUrl: null` the page would send the description to a web service.
SwaggerUIBundle({ url: "/openapi.json", dom_id: "#swagger-ui", deepLinking: true, validatorUrl: null });
