"""UserDevice: one user's device, which is told ids and answers in words; ``scalrec.Device``."""

from __future__ import annotations

import time as clock
import zlib
from typing import Self

import numpy as np

from device_runtime.abstract.writer import TemplateAbstract
from device_runtime.cloud.link import RefreshResult
from device_runtime.cloud.snapshot_cache import DiskSnapshotCache
from device_runtime.device import Device
from device_runtime.making import make_device
from device_runtime.models import DeviceModels
from device_runtime.refresh.policy import RefreshPolicy
from device_runtime.settings import POLICIES
from device_runtime.state.history import RequestContext
from loadtest.replay.item_pages import ItemPages
from scalrec.api.cloud import Cloud
from scalrec.api.options import Assignments, PathLike, settings_for
from scalrec.api.recommended import Answer, Recommended
from scalrec.api.trained import Trained, bundle_of
from shared.bundle import Bundle
from shared.interactions import Catalogue, hour_of_week

_UNKNOWN = -1  # index of an item that the bundle does not hold


class UserDevice:
    """One user's recommender. It answers from what it holds, and asks a cloud when told to.

    Make one with ``load``, those of further users with ``for_user``. Not safe to use from several
    threads at once.

    Attributes:
        device: the device that ships, by indices.
        catalogue: ids and words of the items.
    """

    def __init__(self, device: Device, parts: _Parts) -> None:
        self.device = device
        self.catalogue = parts.catalogue
        self._parts = parts
        self._context: RequestContext | None = None

    @classmethod
    def load(
        cls,
        bundle: PathLike | Bundle | Trained,
        user: str = "me",
        *,
        policy: RefreshPolicy | None = None,
        settings: Assignments | None = None,
    ) -> Self:
        """A device of ``user``, with no history yet.

        Args:
            bundle: its folder, or what ``train`` gave.
            user: names the snapshots that the cloud keeps; letters, digits, ``._-``.
            policy: when it wants to refresh; None: what ``device.policy`` says.
            settings: by full names, e.g. ``{"device.policy": "drift", "device.budget": 0.1}``.

        Raises:
            BundleError: no bundle is there, or a file does not match its manifest.
            ConfigError: a setting is wrong.
        """
        parts = _Parts(bundle_of(bundle), settings)
        return cls(parts.device(user, policy), parts)

    def for_user(self, user: str, *, policy: RefreshPolicy | None = None) -> Self:
        """A device of another user, with no history yet; it shares models and settings."""
        return type(self)(self._parts.device(user, policy), self._parts)

    def __repr__(self) -> str:
        return f"<Device of {self.device.user}, {self.device.step} events>"

    def observe(self, item: str, time: float | None = None, *, utc_offset_min: int = 0) -> None:
        """Take in the user's newest event.

        Args:
            item: id of the item, as in the log; one that the bundle does not hold counts as an
                event and says nothing else.
            time: Unix seconds; None: now. A bundle of a log without times has no use for it.
            utc_offset_min: of the user's clock.
        """
        index = self._parts.index.get(str(item), _UNKNOWN)
        when, hour = self._moment(time, utc_offset_min)
        pages = self._parts.pages
        self.device.observe(index, when, hour, None if pages is None else pages.page(index))

    def recommend(
        self, k: int = 10, time: float | None = None, *, query: str = "", utc_offset_min: int = 0
    ) -> Answer:
        """Recommend ``k`` items now, from what the device holds; waits for nothing.

        Args:
            time, utc_offset_min: as ``observe`` takes them.
            query: what the user asks for, in words; a refresh for this request tells it.
        """
        when, hour = self._moment(time, utc_offset_min)
        self._context = RequestContext(when, hour, query)
        response = self.device.request(self._context, k)
        scores = dict(zip(response.candidates.tolist(), response.scores.tolist(), strict=True))
        items = self.catalogue
        return Answer(
            tuple(
                Recommended(items.ids[item], items.titles[item], scores[item])
                for item in response.items.tolist()
            ),
            response,
        )

    def wants_refresh(self) -> bool:
        """Whether the refresh policy would ask the cloud; to be asked once after each answer."""
        return self.device.wants_refresh()

    async def refresh(self, cloud: Cloud) -> RefreshResult | None:
        """Ask the cloud for a snapshot of the present state, and hold it from then on.

        Args:
            cloud: opened (``async with``).

        Returns:
            How it went; a failure is a result too, its ``outcome`` says which. None if a refresh
            is under way.
        """
        context = self._context or RequestContext(*self._moment(None, 0))
        return await self.device.refresh(cloud.link, context)

    def refresh_now(self, cloud: Cloud) -> RefreshResult | None:
        """As ``refresh``, for code without an event loop; waits for the answer.

        Args:
            cloud: opened by a plain ``with``.
        """
        return cloud.run(self.refresh(cloud))

    def _moment(self, time: float | None, utc_offset_min: int) -> tuple[float | None, float]:
        """Unix seconds and local hour of the week, as the bundle's log has them."""
        if not self._parts.models.manifest.has_time:
            return None, 0.0
        when = clock.time() if time is None else float(time)
        return when, float(hour_of_week(np.array([when]), utc_offset_min * 60.0)[0])


class _Parts:
    """What all devices of a bundle share, and the settings they are made by."""

    def __init__(self, bundle: Bundle, settings: Assignments | None) -> None:
        chosen = settings_for({}, settings, {})
        self._settings, self._seed = chosen.device, chosen.seed
        self._other = POLICIES.load(self._settings.policy)
        folder = self._settings.cache_dir
        self._cache = None if folder is None else DiskSnapshotCache(folder)
        self.catalogue: Catalogue = bundle.catalogue()
        self.models = DeviceModels.load(bundle)
        self._writer = TemplateAbstract(self.catalogue, bundle.manifest.abstract)
        # A device without an item table reads an item's vector off the item's page.
        self.pages = None if self.models.table is not None else ItemPages(bundle)
        self.index = {item: place for place, item in enumerate(self.catalogue.ids)}

    def device(self, user: str, policy: RefreshPolicy | None) -> Device:
        made = make_device(
            user,
            self.models,
            self._writer,
            self._settings,
            np.random.default_rng([self._seed, zlib.crc32(user.encode())]),
            cache=self._cache,
            other_policy=self._other,
        )
        if policy is not None:
            made.policy = policy
        return made
