"""Rescalers from the Hugging Face hub, as ``hf:owner/name``, and the folder that one is uploaded as.

    README.md           the model card
    manifest.json       what the weights are, as the package's own manifest has it, for this one rescaler
    NAME.safetensors    the weights; beside them NAME.steps.safetensors, where there are learned steps

What is fetched has to be the file whose hash the manifest has. Nothing in it is run.
"""

from dataclasses import dataclass
from pathlib import Path

from coscale.errors import RescalerError, reason
from coscale.files import sha256
from coscale.rescalers import find
from coscale.weights.manifest import MANIFEST, ManifestEntry, read_manifest
from coscale.weights.steps import beside

ON_HUB = "hf:"  # begins what names a repository of the hub
NEEDS = "needs: pip install 'coscale[hub]'"


@dataclass(frozen=True)
class Fetched:
    """A rescaler's name, the file of its weights, which the steps lie beside, and what the manifest says of them."""

    name: str
    weights: Path
    entry: ManifestEntry


def fetched(source: str) -> Fetched:
    """Fetch what ``hf:owner/name``, or ``hf:owner/name@revision``, names, unless it is here already.

    The hub is what HF_ENDPOINT says, and without a connection what was fetched before is taken. Raises RescalerError
    for a repository that is not there or has no rescaler, without a connection, and for a file of another hash.
    """
    repository, _, revision = source.removeprefix(ON_HUB).partition("@")
    manifest = _file(source, repository, revision, MANIFEST.name)
    try:
        ((name, entry),) = read_manifest(manifest).items()
    except (RescalerError, ValueError) as error:
        raise RescalerError(
            f"{source}: its {MANIFEST.name} is not that of one rescaler; give a repository that coscale card made"
        ) from error
    find(name)  # so that one which is not known here is refused
    # Of one revision, also where somebody changes the repository in between: it is the folder that the file lies in.
    at = manifest.parent.name
    path = _checked(source, _file(source, repository, at, f"{name}.safetensors"), entry.sha256)
    if entry.steps:
        _checked(source, _file(source, repository, at, beside(path).name), entry.steps.sha256)
    return Fetched(name, path, entry)


def _file(source: str, repository: str, revision: str, name: str) -> Path:
    """A file of a repository, in the cache of huggingface_hub."""
    try:
        from huggingface_hub import errors, hf_hub_download
        from huggingface_hub.utils import logging
    except ImportError as error:
        raise RescalerError(f"{source} {NEEDS}") from error
    logging.set_verbosity_error()  # what is wrong is told below, in one line
    try:
        return Path(hf_hub_download(repository, name, revision=revision or None))
    except errors.GatedRepoError as error:
        raise RescalerError(
            f"{source} is only for those whom its owner lets in; ask there, then: hf auth login"
        ) from error
    except errors.RepositoryNotFoundError as error:
        raise RescalerError(
            f"{source}: the hub has no such repository, or it is private; check the name, or: hf auth login"
        ) from error
    except errors.RevisionNotFoundError as error:
        raise RescalerError(f"{source}: the repository has no revision {revision}; check what is after @") from error
    except errors.RemoteEntryNotFoundError as error:
        raise RescalerError(
            f"{source}: the repository has no {name}; give one that coscale card made, or fetch the checkpoint "
            "yourself and give it with --weights"
        ) from error
    except errors.HFValidationError as error:
        raise RescalerError(f"{source} is no name of a repository; give hf:owner/name") from error
    except errors.LocalEntryNotFoundError as error:
        raise RescalerError(
            f"{source} is not here yet, and the hub cannot be reached; check the connection and HF_ENDPOINT"
        ) from error
    except Exception as error:  # connections and servers fail in many ways, each with an error of its own
        raise RescalerError(f"{source} could not be fetched ({reason(error)}); try again later") from error


def _checked(source: str, path: Path, wanted: str) -> Path:
    if (found := sha256(path)) != wanted:
        raise RescalerError(
            f"{source}: {path.name} is not the file that its {MANIFEST.name} is of (SHA-256 {found[:12]}, not "
            f"{str(wanted)[:12]}); fetch it anew with: hf download --force-download, or ask its owner"
        )
    return path
