"""The registry: the models in a store, their versions, the aliases that name them, their history.

```
models/<name>/champion.json                 an alias: a pointer, moved by compare-and-swap
models/<name>/moves/champion/<number>.json  one document a move of it
models/<name>/versions/<version>/           immutable: model.keras, metrics, verdict, report
models/<name>/versions/<version>/manifest.json   written last: SHA-256 of every file
models/<name>/versions/<version>/manifest.json.sig   its signature, if versions are signed
models/<name>/removals/<version>            a mark, while a version is being removed
models/<name>/judged/<time>-<digest>.json   one document a judged run
store.json                                  the store's name, if pointers are signed
approvals/<verdict>/<request>.json          a person's decision on a verdict
```

    model = Registry.of(store, read_deployment()).model("skin-resnet50")
    model.champion.version
    model.rollback("previous", by="me", reason="too many false alarms")

The keys and the rule of approval are given once, when the registry is opened, and no method takes
others. So no check of a signature or an approval can be left out by mistake. What people may look
at without these checks is read through `Model.unverified`, which can only read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from skin_pipeline.config import Deployment
from skin_pipeline.contracts import CHAMPION, Judgement, Pointer, Release, dump, parse
from skin_pipeline.errors import BadInput, Rejected
from skin_pipeline.provenance import SigningKeys
from skin_pipeline.release import aliases, eligible, history, rollback, trust, versions
from skin_pipeline.release.aliases import ANY
from skin_pipeline.release.approvals import NO_RULE, Approvals, Rule
from skin_pipeline.release.pointers import Alias, Document
from skin_pipeline.release.pruning import Pruning
from skin_pipeline.release.rollback import Rollback
from skin_pipeline.release.seen import Accepted
from skin_pipeline.release.versions import Version, version_key
from skin_pipeline.storage import Store


@dataclass(frozen=True)
class Registry:
    """The models of a store.

    `keys` say what is signed, and what must be. With `SigningKeys()`, nothing is signed or checked.
    `rule` says which champions a person must approve; with `NO_RULE`, none.
    """

    store: Store
    keys: SigningKeys
    rule: Rule = NO_RULE

    @classmethod
    def of(cls, store: Store, deployment: Deployment) -> Registry:
        """Returns the registry with the deployment's keys and rule, as production code opens it."""
        return cls(store, SigningKeys.of(deployment), Rule.of(deployment))

    def model(self, name: str) -> Model:
        """Returns a model, whether the store contains anything of it or not."""
        return Model(self.store, name, self.keys, self.rule)

    def models(self) -> list[str]:
        """Returns the names of all models that were judged or promoted, sorted."""
        return versions.models(self.store)


@dataclass(frozen=True)
class Model:
    """A model of a registry: its versions, its aliases and its judgements."""

    store: Store
    name: str
    keys: SigningKeys
    rule: Rule = NO_RULE

    @property
    def unverified(self) -> Unverified:
        """What the store says about the model, whether it can be trusted or not."""
        return Unverified(self.store, self.name)

    # --- aliases -----------------------------------------------------------------------------

    @property
    def champion(self) -> Pointer | None:
        """What the alias `champion` names now; see `pointer`."""
        return self.pointer(CHAMPION)

    def pointer(self, alias: str) -> Pointer | None:
        """Returns what an alias names now, or None if it names nothing.

        Raises:
            BadInput: the pointer is damaged, or the keys do not trust it.
        """
        found = trust.pointer(self._alias(alias))
        return found.move if found else None

    def aliases(self) -> list[str]:
        """Returns the names of all aliases that exist, were once moved, or were seen here."""
        return aliases.watched(self.store, self.name, self.keys)

    def verify_alias(self, alias: str = CHAMPION) -> Release:
        """Verifies the version that an alias names, and its history; see `history.verify`."""
        return history.verify(self._alias(alias))

    def accept_older(self, names: Iterable[str], *, by: str, reason: str) -> list[Accepted]:
        """Accepts aliases of a restored store as they are; see `history.accept_older`."""
        accepted = [self._alias(name) for name in names]
        return history.accept_older(accepted, by=by, reason=reason)

    def move(
        self,
        version: str,
        alias: str = CHAMPION,
        *,
        by: str,
        reason: str,
        expected: str | None = ANY,
    ) -> bool:
        """Makes an alias name a version. Returns whether it names it now.

        The version is not verified; `promote` does that first.

        Args:
            version: A complete version of the model. Nothing moves if the alias names it already.
            alias: The alias.
            by: Who moves it: a person, or a run.
            reason: Why, for people.
            expected: The version that the alias must still name (None: nothing). Of several
                processes that expect the same one, one succeeds. By default it may name any.

        Raises:
            BadInput: the version is not complete in the store, there is no reason, the keys do
                not trust the pointer that is there, or a person must approve the version first.
            Unavailable: others moved the alias each time this call was about to.
        """
        self._check_approved(version, alias)
        return aliases.move(self._alias(alias), version, by=by, reason=reason, expected=expected)

    def promote(
        self,
        version: str,
        alias: str = CHAMPION,
        *,
        by: str,
        reason: str,
        expected: str | None = ANY,
    ) -> bool:
        """Verifies a published version and makes an alias name it. Returns whether it names it now.

        Takes and raises what `move` does.

        Raises:
            BadInput: the version is damaged, or not signed as the keys require.
        """
        self.verify(version)
        return self.move(version, alias, by=by, reason=reason, expected=expected)

    def plan_rollback(self, target: str, alias: str = CHAMPION) -> Rollback:
        """Finds and verifies the version that a rollback leads to; see `rollback.plan`."""
        return rollback.plan(self._alias(alias), target)

    def carry_out(self, plan: Rollback, alias: str = CHAMPION, *, by: str, reason: str) -> Pointer:
        """Moves an alias as planned, and returns its pointer; raises as `rollback.carry_out` and
        `move` do: without an approval the champion goes back only to what it was."""
        self._check_approved(plan.version, alias)
        return rollback.carry_out(self._alias(alias), plan, by=by, reason=reason)

    def rollback(self, target: str, alias: str = CHAMPION, *, by: str, reason: str) -> Pointer:
        """Verifies an earlier version and makes an alias name it again.

        Takes and raises what `plan_rollback` and `carry_out` do. Nothing moves if the alias names
        the version already.

        Returns:
            The pointer after the move.
        """
        return self.carry_out(self.plan_rollback(target, alias), alias, by=by, reason=reason)

    def rolled_back(self, alias: str = CHAMPION) -> Iterator[Pointer]:
        """Yields the rollbacks after which an alias never named the version again, newest first."""
        return eligible.rolled_back(self._alias(alias))

    def check_by_hand(self, version: str, alias: str = CHAMPION) -> None:
        """Raises unless a person may make an alias name a verified version; see `eligible`."""
        eligible.check_by_hand(self._alias(alias), version)
        self._check_approved(version, alias)

    def named_before(self, alias: str = CHAMPION) -> str | None:
        """Returns the version that `previous` means in a rollback; None for none."""
        return aliases.before(rollback.trusted_history(self._alias(alias)))

    def sign_history(self, alias: str, by: str) -> str:
        """Signs what an alias names, and its history so far; see `aliases.sign_history`."""
        return aliases.sign_history(self._alias(alias), by)

    def signatures(self, documents: Sequence[Document]) -> list[str]:
        """Returns in a word how each move of a history is signed, newest first."""
        return history.signatures(self.store, documents, self.keys)

    # --- approvals ---------------------------------------------------------------------------

    @property
    def approvals(self) -> Approvals:
        """The decisions of people on the verdicts of models."""
        return Approvals(self.store, self.keys, self.rule)

    def _check_approved(self, version: str, alias: str) -> None:
        """Raises unless a person approved what is to become the champion, where one must.

        What was the champion before may be it again: that is a rollback.
        """
        now = self.champion if alias == CHAMPION and self.rule.when != "never" else None
        if alias != CHAMPION or not self.rule.asks(now):
            return
        known = rollback.trusted_history(self._alias(alias))
        if version in {document.move.version for document in known}:
            return
        try:
            self.approvals.check(self.name, self.release(version).verdict, now)
        except Rejected as refusal:  # which is a verdict on a run, and here an error of the mover
            raise BadInput(
                f"version {version} must not become the champion: {refusal}. Nothing was moved"
            ) from None

    # --- versions ----------------------------------------------------------------------------

    def versions(self) -> list[str]:
        """Returns the names of all complete versions, sorted."""
        return versions.versions(self.store, self.name)

    def version_key(self, version: str) -> str:
        """Returns the key below which the files of a version are kept."""
        return version_key(self.name, version)

    def release(self, version: str) -> Release:
        """Returns the manifest of a version.

        Raises:
            BadInput: it is not in the store, cannot be read, or is not signed as the keys require.
        """
        return self._version(version).release()

    def verify(self, version: str) -> Release:
        """Compares every byte of a version with its manifest; see `Version.verify`."""
        return self._version(version).verify()

    def is_signed(self, version: str) -> bool:
        """Returns whether a version has a signature; whether it is valid is not checked."""
        return self._version(version).is_signed()

    def describe(self, sources: Mapping[str, str], **about: Any) -> Release:
        """Returns the manifest of a new version; takes what `versions.describe` does."""
        return versions.describe(self.store, self.name, sources, **about)

    def publish(
        self,
        release: Release,
        sources: Mapping[str, str],
        approve: Callable[[Path], object] = lambda model: None,
    ) -> None:
        """Writes a version, and signs its manifest if there is a private key.

        Takes and raises what `versions.publish` and `Version.sign` do.
        """
        version = self._version(release.version)
        manifest = versions.publish(version, release, sources, approve)
        if self.keys.private:
            version.sign(manifest)

    def sign(self, version: str) -> bool:
        """Signs a published version because a person vouches for it; see `chain.sign`."""
        # It judges again, so it imports much; web pages, which never sign, must not wait for that.
        from skin_pipeline.release import chain

        return chain.sign(self._version(version))

    def prune(self, keep: int, dry_run: bool = True) -> list[str]:
        """Removes old versions. Returns which are removed, or would be, oldest first.

        What is kept, and what stops it: see `pruning.Pruning`.

        Args:
            keep: How many of the newest versions are kept, by the time of their publication.
            dry_run: Whether to remove nothing and only return what would be removed.
        """
        pruning = Pruning(self.store, self.name, self.keys)
        candidates = pruning.candidates(keep)
        return candidates if dry_run else pruning.remove(candidates)

    # --- judgements --------------------------------------------------------------------------

    def judgements(self, last: int = 20) -> list[Judgement]:
        """Returns the latest judged runs of the model, newest first."""
        return [self.judgement(key) for key in reversed(self.judged_keys()[-last:])]

    def judged_keys(self) -> list[str]:
        """Returns the keys of all judgements of the model, oldest first."""
        return self.store.list(self._judged)

    def judgement(self, key: str) -> Judgement:
        """Returns the judgement under a key. Raises `BadInput` if it is damaged."""
        return parse(self.store.read(key), Judgement, key)

    def record(self, judgement: Judgement, verdict: str) -> bool:
        """Adds a judged run to the model's history. Returns whether it is new there.

        Args:
            judgement: The run's figures and outcome.
            verdict: Key of the verdict. It is recorded once, even if a later run finds it again.
        """
        stamp = judgement.judged_at.replace(":", "").replace("-", "")
        key = f"{self._judged}/{stamp}-{verdict[:12]}.json"
        if self.store.exists(key):
            return False
        self.store.put(key, dump(judgement))
        return True

    @property
    def _judged(self) -> str:
        return f"{versions.folder(self.name)}/judged"

    def _alias(self, name: str) -> Alias:
        return Alias(self.store, self.name, name, self.keys)

    def _version(self, name: str) -> Version:
        return Version(self.store, self.name, name, self.keys)


@dataclass(frozen=True)
class Unverified:
    """What the store says about a model, for people to look at: no signature is checked.

    Nothing may be decided by it. It has no keys, and no method that moves, signs or removes.
    """

    store: Store
    model: str

    def pointer(self, alias: str) -> Pointer | None:
        """Returns what an alias names, or None. Raises `BadInput` if the pointer is damaged."""
        found = self._alias(alias).read()
        return found.move if found else None

    def pointing(self) -> list[str]:
        """Returns the names of all aliases that have a pointer, sorted."""
        return aliases.pointing(self.store, self.model)

    def pointers(self) -> dict[str, Pointer]:
        """Returns what all aliases name, by alias. Raises `BadInput` if a pointer is damaged."""
        found = {name: self.pointer(name) for name in self.pointing()}
        return {name: pointer for name, pointer in found.items() if pointer}

    def documents(self, alias: str = CHAMPION, last: int | None = None) -> list[Document]:
        """Returns the moves of an alias, newest first; see `Alias.documents`."""
        return self._alias(alias).documents(last)

    def move_keys(self, alias: str) -> list[str]:
        """Returns the keys of an alias's pointer and of its moves, newest first."""
        return [self._alias(alias).key, *reversed(self._alias(alias).recorded().values())]

    def release(self, version: str) -> Release:
        """Returns the manifest of a version. Raises `BadInput` if it is missing or damaged."""
        return Version(self.store, self.model, version, SigningKeys()).release()

    def resolve(self, name: str) -> str:
        """Returns the version that `name` means: an alias or a version.

        Raises:
            BadInput: there is neither, or the alias names a version that is not there.
        """
        pointer = self.pointers().get(name)
        version = Version(
            self.store, self.model, pointer.version if pointer else name, SigningKeys()
        )
        if not self.store.exists(version.manifest_key):
            known = history.known_names(self.store, self.model)
            raise BadInput(f"{self.model} has no version {version.name}. {known}")
        return version.name

    def _alias(self, name: str) -> Alias:
        return Alias(self.store, self.model, name, SigningKeys())
