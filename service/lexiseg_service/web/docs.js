// Swagger UI fills made-up values ("string", 32) into every field of a form that has no example, and sends them; an
// emptied field it sends too, unless a box is unticked. Here such a field begins empty, and what is empty is not sent.
const emptyFields = () => ({
  components: { ParameterIncludeEmpty: () => null },
  afterLoad() {
    const sample = this.fn.getSampleSchema;
    this.fn.getSampleSchema = (schema, contentType, ...rest) => {
      const isEmptyField = contentType === false && schema.get("example") === undefined && schema.get("default") === undefined;
      if (!isEmptyField) return sample(schema, contentType, ...rest);
      return schema.get("type") === "array" ? "[]" : "";
    };
  },
});

SwaggerUIBundle({
  url: "/openapi.json", dom_id: "#swagger-ui", plugins: [emptyFields], validatorUrl: null,
  deepLinking: true, displayRequestDuration: true, persistAuthorization: true, tryItOutEnabled: true, defaultModelsExpandDepth: 0,
});
