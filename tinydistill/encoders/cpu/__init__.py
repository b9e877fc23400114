"""Faster ways on the CPU, each optional: products, dropout, memory, squared errors, 8-bit products."""
