import js from "@eslint/js";
import jsdoc from "eslint-plugin-jsdoc";
import globals from "globals";

export default [
  js.configs.recommended,
  jsdoc.configs["flat/recommended-typescript-flavor-error"],
  {
    files: ["web/**/*.{js,mjs}", "tests/web/**/*.js"],
    languageOptions: { globals: { ...globals.browser } },
    rules: {
      "jsdoc/require-param-description": "off",
      "jsdoc/require-returns": "off",
      "jsdoc/tag-lines": ["error", "any", { startLines: 1 }],
      "no-eval": "error",
      "no-implied-eval": "error",
      "no-restricted-properties": [
        "error",
        ...["innerHTML", "outerHTML", "insertAdjacentHTML"].map((property) => ({
          property,
          message: "Use textContent: records come from strangers.",
        })),
      ],
    },
  },
  {
    files: ["tests/web/**/*.js"],
    languageOptions: { globals: { ...globals.node } },
    rules: { "jsdoc/require-jsdoc": "off" },
  },
];
