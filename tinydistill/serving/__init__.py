"""A model behind HTTP: requests batched together, limits, metrics, and a page to try a sentence."""
