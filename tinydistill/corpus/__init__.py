"""Plain text as rows for masked-LM distillation: reading, packing, words and masks."""
