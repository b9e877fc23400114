"""A card in the folder of each student that has none, and a student on the hub, if that is asked."""

from collections.abc import Callable, Iterable
from pathlib import Path

from huggingface_hub import HfApi, ModelCard, get_token
from huggingface_hub.errors import HFValidationError
from huggingface_hub.utils import validate_repo_id

from glue_tasks.errors import UserError
from glue_tasks.writers import whole_file
from tinydistill import processes

CARD = "README.md"
# Of a phase's folder: what serves the student. Not run.json, which has paths, and not the projections.
_SERVED = (
    *("config.json", "generation_config.json", "*.safetensors", "*.safetensors.index.json", CARD),
    *("tokenizer*.json", "special_tokens_map.json", "added_tokens.json", "vocab.*", "merges.txt", "*.model"),
)
_NOT_SERVED = ("projections.safetensors", "checkpoints/**")


def check_push(repo_id: str) -> None:
    """Raises UserError, before hours of training, if nothing could be pushed to the hub at their end."""
    try:
        validate_repo_id(repo_id)
    except HFValidationError:
        raise UserError(f"--push-to-hub {repo_id!r} is no id of a model on the hub; write it as NAME/MODEL") from None
    if get_token() is None:
        raise UserError("--push-to-hub needs an access token of the hub; log in with `hf auth login`, or set HF_TOKEN")


def publish(cards: Iterable[tuple[str, Callable[[str], ModelCard]]], folder: Path, repo_id: str = "") -> None:
    """Write the card of each student that has none, and push the student in `folder` to the hub if an id is given.

    cards: students' folders, and what draws the card of each, given what it is called on the hub. Of several processes
    the first does it. A card that is there stays: a person may have edited it.
    """
    if not processes.is_first():
        return
    for path, draw in cards:
        place = Path(path)
        if not place.is_dir() or (place / CARD).exists():
            continue
        card = draw(repo_id if place.resolve() == folder.resolve() else "")
        with whole_file(place / CARD) as partial:
            partial.write_text(str(card), encoding="utf-8")
    if repo_id:
        print(f"pushed: {push(folder, repo_id)}")


def push(folder: Path, repo_id: str) -> str:
    """Upload what serves the student to the hub, making the repository if need be; returns its address.

    Raises UserError if the hub does not take it; the student stays where it is.
    """
    api = HfApi()
    try:
        made = api.create_repo(repo_id, exist_ok=True)
        api.upload_folder(
            repo_id=made.repo_id,
            folder_path=folder,
            allow_patterns=list(_SERVED),
            ignore_patterns=list(_NOT_SERVED),
            commit_message="Upload the student",
        )
    except Exception as error:  # of the hub, of the way there, and of what is below huggingface_hub
        reason = " ".join(str(error).split())[:200]
        raise UserError(
            f"the hub did not take the student ({reason}); it is whole in {folder}, and the same command with --resume "
            "tries again"
        ) from None
    return str(made)
