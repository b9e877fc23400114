import torch
from transformers import BertConfig, BertForSequenceClassification

from tinydistill.precision import autocast, keep_products_in_bf16


def test_products_kept_in_bf16_give_what_autocast_gives() -> None:
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=60, hidden_size=24, num_hidden_layers=2, num_attention_heads=4, intermediate_size=16, num_labels=3
    )
    model = BertForSequenceClassification(config).eval()
    ids = torch.randint(5, 60, (3, 7))
    with torch.no_grad(), autocast("bf16", torch.device("cpu")):
        before = model(ids, output_hidden_states=True)
        keep_products_in_bf16(model)
        after = model(ids, output_hidden_states=True)
    assert torch.equal(before.logits, after.logits)
    for one, other in zip(before.hidden_states, after.hidden_states, strict=True):
        assert torch.equal(one, other)
    assert model.bert.encoder.layer[0].attention.self.query.weight.dtype == torch.bfloat16
    assert model.bert.embeddings.word_embeddings.weight.dtype == torch.float32
