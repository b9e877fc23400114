"""The report of a run: `report.json`, the truth, and `report.md` and `report.html`, drawn from it alone.

What measures: measure.py (a run), models.py (its models on dev), statistics.py, analysis.py, augmentation.py. What
draws, without PyTorch, models or data: page.py (both files), markdown.py, html.py with templates/, figures.py. And
comparing.py sets runs beside each other.
"""
