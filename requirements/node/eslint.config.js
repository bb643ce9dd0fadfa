// Rules for the page's JavaScript: eslint's own recommendations, and no sloppy comparisons.

import js from "@eslint/js";
import globals from "globals";

export default [
  js.configs.recommended,
  {
    languageOptions: { ecmaVersion: 2025, sourceType: "module", globals: globals.browser },
    rules: {
      eqeqeq: ["error", "always", { null: "ignore" }],
      "no-unused-vars": ["error", { ignoreRestSiblings: true }],
      "no-var": "error",
      "prefer-const": "error",
      complexity: ["error", 12],
      "max-len": ["error", { code: 160, ignoreStrings: true, ignoreTemplateLiterals: true }],
    },
  },
  { files: ["**/docs.js"], languageOptions: { sourceType: "script", globals: { SwaggerUIBundle: "readonly" } } },
];
