"""Below everything that runs a model: imports nothing else of tinydistill, and serves the augmentation too."""
