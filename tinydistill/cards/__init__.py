"""Model cards: the README.md of a student, with the hub's metadata, drawn from report.json.

A card is the same for the same student, to the byte: no times are in it, and no folders.

Source: https://huggingface.co/docs/hub/model-cards (metadata, and `model-index` of results).
"""
