// Test vectors that `tests/ui/heat_vectors.py` writes.
import { readFileSync } from "node:fs";

export const vectors = JSON.parse(readFileSync(new URL("heat_vectors.json", import.meta.url), "utf-8"));
