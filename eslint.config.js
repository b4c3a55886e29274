import js from "@eslint/js";
import globals from "globals";

export default [
  // generated pages and other environments hold scripts of their own
  { ignores: ["**/*.html", "build/", "dist/", "docs/", "node_modules/", ".venv/"] },
  js.configs.recommended,
  {
    linterOptions: { reportUnusedDisableDirectives: "error" },
    rules: {
      curly: ["error", "multi-line"],
      eqeqeq: "error",
      "no-implicit-globals": "error",
      "no-var": "error",
      "object-shorthand": "error",
      "prefer-const": "error",
      "prefer-template": "error",
    },
  },
  {
    files: ["ui/promptweight_ui/static/*.js", "promptweight/widget/static/*.js"],
    languageOptions: { globals: globals.browser },
  },
  { files: ["tests/ui/static/*.js"], languageOptions: { globals: globals.node } },
];
