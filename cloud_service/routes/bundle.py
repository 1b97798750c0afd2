"""``/v1/bundle``: which bundle the cloud serves."""

from __future__ import annotations

from fastapi import APIRouter

from cloud_service.http.problems import documented
from shared.bundle import Bundle
from shared.schemas import BundleResponse


def bundle_router(bundle: Bundle) -> APIRouter:
    """The route; its answer never changes while the service runs."""
    manifest = bundle.manifest
    answer = BundleResponse(
        bundle_id=bundle.id,
        log=manifest.log,
        profile=manifest.profile.name,
        dim=manifest.dim,
        n_items=manifest.n_items,
        embedder=manifest.embedder.model,
    )
    router = APIRouter(prefix="/v1", tags=["bundle"])

    @router.get(
        "/bundle",
        operation_id="bundle",
        summary="The bundle being served",
        responses={200: {"content": {"application/json": {"example": _EXAMPLE}}}, **documented()},
    )
    async def get_bundle() -> BundleResponse:
        """Devices whose bundle differs must update before they can refresh."""
        return answer

    return router


_EXAMPLE = {
    "bundle_id": "9f2c1a7be04d5533",
    "log": "movielens-100k",
    "profile": "small",
    "dim": 64,
    "n_items": 1682,
    "embedder": "minilm",
}
