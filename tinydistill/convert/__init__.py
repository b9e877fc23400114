"""TensorFlow 1 checkpoints of BERT and MobileBERT, read without TensorFlow and written as transformers' folders."""
