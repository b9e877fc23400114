"""Tokenizers: the case of the vocabulary, padding and segments, whatever their files leave out."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from tokenizers import Tokenizer, normalizers
from tokenizers.models import Unigram
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from tests.tinydistill.conftest import change_config, make_tokenizer, tiny_bert_config
from tinydistill.encoders.tokenizer import load_tokenizer, what_decides_pieces

WORDS = "Paris Berlin The the good bad film was nice café straße is and movie ##s ."
CASED = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS.split()]


def with_vocabulary(folder: Path, pieces: list[str], **tokenizer_config: object) -> str:
    """A folder of BERT's with vocab.txt alone, or with a tokenizer_config.json too."""
    tiny_bert_config(vocab_size=len(pieces)).save_pretrained(folder)
    (folder / "vocab.txt").write_text("\n".join(pieces) + "\n", encoding="utf-8")
    if tokenizer_config:
        (folder / "tokenizer_config.json").write_text(json.dumps(tokenizer_config))
    return str(folder)


@pytest.mark.parametrize("entries", [{}, {"model_max_length": 512}])
def test_a_cased_vocabulary_alone_keeps_its_case(
    tmp_path: Path, entries: dict, caplog: pytest.LogCaptureFixture
) -> None:
    tokenizer = load_tokenizer(with_vocabulary(tmp_path, CASED, **entries))
    assert tokenizer.tokenize("The café was Paris") == ["The", "café", "was", "Paris"]
    assert "has capitals or accents in its vocab.txt" in caplog.text
    tokenizer.save_pretrained(tmp_path / "saved")
    change_config(tmp_path)
    shutil.copy(tmp_path / "config.json", tmp_path / "saved")
    assert load_tokenizer(str(tmp_path / "saved")).tokenize("Paris café") == ["Paris", "café"]


def test_a_vocabulary_with_accents_alone_keeps_them(tmp_path: Path) -> None:
    pieces = [piece.lower() if not piece.startswith("[") else piece for piece in CASED if piece != "The"]
    assert load_tokenizer(with_vocabulary(tmp_path, pieces)).tokenize("The Café") == ["the", "café"]


def test_an_uncased_vocabulary_alone_stays_uncased(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    pieces = [piece for piece in CASED if piece == piece.lower() or piece.startswith("[")]
    pieces = [piece for piece in pieces if piece.isascii()]
    assert load_tokenizer(with_vocabulary(tmp_path, pieces)).tokenize("The GOOD Film") == ["the", "good", "film"]
    assert caplog.text == ""


@pytest.mark.parametrize("options", [{"lowercase": False}, {"strip_accents": False}], ids=str)
def test_the_case_in_tokenizer_json_is_kept(tmp_path: Path, options: dict) -> None:
    """transformers makes BERT's tokenizer anew by tokenizer_config.json, which need not say anything about it."""
    tiny_bert_config(vocab_size=len(CASED)).save_pretrained(tmp_path)
    written = make_tokenizer(CASED)
    written.backend_tokenizer.normalizer = normalizers.BertNormalizer(**options)
    written.save_pretrained(tmp_path)
    (tmp_path / "tokenizer_config.json").write_text('{"model_max_length": 512}')
    expected = written.tokenize("The café was Paris")
    assert "café" in expected
    tokenizer = load_tokenizer(str(tmp_path))
    assert tokenizer.tokenize("The café was Paris") == expected
    assert tokenizer.pad_token == "[PAD]"
    tokenizer.save_pretrained(tmp_path)
    assert load_tokenizer(str(tmp_path)).tokenize("The café was Paris") == expected


def test_a_case_that_is_stated_is_believed_and_doubted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    tokenizer = load_tokenizer(with_vocabulary(tmp_path, CASED, do_lower_case=True))
    assert tokenizer.tokenize("The Film") == ["the", "film"]
    assert "takes capitals or accents away, and 27% of its vocabulary has them" in caplog.text


# Padding


def test_a_tokenizer_without_padding_takes_the_models(checkpoint: Path) -> None:
    """tokenizer.json alone names no special pieces; a model counts positions by its own piece of padding."""
    (checkpoint / "tokenizer_config.json").unlink()
    change_config(checkpoint, pad_token_id=0, tokenizer_class="PreTrainedTokenizerFast")
    tokenizer = load_tokenizer(str(checkpoint))
    assert tokenizer.pad_token == "[PAD]"
    assert tokenizer(["good film", "bad"], padding=True)["input_ids"][1][-1] == 0


def test_padding_is_on_the_right(checkpoint: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = checkpoint / "tokenizer_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "padding_side": "left"}))
    tokenizer = load_tokenizer(str(checkpoint))
    assert tokenizer(["good film", "bad"], padding=True)["attention_mask"][1] == [1, 1, 1, 0]
    assert "pads on the left" in caplog.text
    tokenizer.save_pretrained(tmp_path / "saved")
    assert json.loads((tmp_path / "saved" / "tokenizer_config.json").read_text()).get("padding_side") != "left"


def test_segments_of_a_tokenizer_without_a_class(checkpoint: Path, tmp_path: Path) -> None:
    """Its default has none, though tokenizer.json makes them; what is stated holds."""
    path = checkpoint / "tokenizer_config.json"
    stated = json.loads(path.read_text())
    del stated["model_input_names"]
    for entries, types in (({}, [0, 0, 0, 1, 1]), ({"model_input_names": ["input_ids", "attention_mask"]}, None)):
        path.write_text(json.dumps({**stated, "tokenizer_class": "PreTrainedTokenizerFast", **entries}))
        tokenizer = load_tokenizer(str(checkpoint))
        assert tokenizer("good", "film").get("token_type_ids") == types
        saved = tmp_path / f"saved-{types is None}"
        tokenizer.save_pretrained(saved)
        shutil.copy(checkpoint / "config.json", saved)
        assert AutoTokenizer.from_pretrained(saved)("good", "film").get("token_type_ids") == types


def test_a_tokenizer_that_was_saved_again_is_the_same() -> None:
    """Reading scores and writing them changes the last digit of some, of 64 bits where they have 32."""
    drawn = np.random.default_rng(0).uniform(-15, -3, 500).astype(np.float32)
    scores = [("<unk>", 0.0), *((f"piece{i}", float(score)) for i, score in enumerate(drawn))]
    first = Tokenizer(Unigram(scores, unk_id=0))
    copies = [first]
    for _ in range(2):
        copies.append(Tokenizer.from_str(copies[-1].to_str()))
    states = [what_decides_pieces(PreTrainedTokenizerFast(tokenizer_object=each, unk_token="<unk>")) for each in copies]
    assert states[0] == states[1] == states[2]
    other = Tokenizer(Unigram([("<unk>", 0.0), *((piece, score - 1e-3) for piece, score in scores[1:])], unk_id=0))
    assert what_decides_pieces(PreTrainedTokenizerFast(tokenizer_object=other, unk_token="<unk>")) != states[0]
    first.enable_truncation(8)
    assert what_decides_pieces(PreTrainedTokenizerFast(tokenizer_object=first, unk_token="<unk>")) == states[0]
