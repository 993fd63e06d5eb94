import react from "@vitejs/plugin-react";

// One classic script beside the page, so that the page opens from a file.
export default {
  base: "./",
  plugins: [
    react(),
    {
      name: "classic-script",
      transformIndexHtml: (html) => html.replace(/<script type="module" crossorigin/g, "<script defer").replace(/ crossorigin/g, ""),
    },
  ],
  define: { "process.env.NODE_ENV": '"production"', global: "globalThis" },
  build: { rollupOptions: { output: { format: "iife", inlineDynamicImports: true } }, chunkSizeWarningLimit: 20000 },
};
