"""What each tenant has open and has used: a book that is asked with the time.

Tenants that have nothing open and have rested a minute are forgotten, so the book stays as small
as the number of callers of the last minutes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from legonn_core.errors import TenantAudio, TenantCharacters, TenantStreams
from legonn_server.access.identity import Priority
from legonn_server.access.quota import TenantQuota, TokenBucket

_REST_S = 120.0
_STREAMS_RETRY_S = 2.0
_MAX_TENANTS = 10_000


@dataclass(slots=True)
class _Account:
    quota: TenantQuota
    audio: TokenBucket
    characters: TokenBucket
    num_open: int = 0
    seen: float = 0.0


class Tenants:
    """Accounts by tenant.

    Args:
        quota_of: The quota of a tenant, by the access file of this moment.
    """

    def __init__(self, quota_of: Callable[[str], TenantQuota]) -> None:
        self._quota_of = quota_of
        self._accounts: dict[str, _Account] = {}

    def __len__(self) -> int:
        return len(self._accounts)

    def num_open(self, tenant: str) -> int:
        """Calls that the tenant has open."""
        account = self._accounts.get(tenant)
        return account.num_open if account else 0

    def is_bulk(self, tenant: str) -> bool:
        """Whether the tenant leaves the last places to others."""
        return self._quota_of(tenant).priority is Priority.BULK

    def enter(self, tenant: str, *, now: float) -> None:
        """Open a call.

        Raises:
            TenantStreams: If the tenant has as many open as it may.
        """
        account = self._account(tenant, now)
        limit = account.quota.max_streams
        if limit and account.num_open >= limit:
            raise TenantStreams(
                f"all {limit} calls of this tenant are open; close one, or try again later",
                field="max_streams",
                retry_after_s=_STREAMS_RETRY_S,
            )
        account.num_open += 1

    def leave(self, tenant: str) -> None:
        """A call that was opened has ended."""
        self._accounts[tenant].num_open -= 1

    def require_audio(self, tenant: str, seconds: float, *, now: float) -> None:
        """Refuse a call that brings so much audio, or any at all, if the tenant must wait.

        Raises:
            TenantAudio: With the wait.
        """
        account = self._account(tenant, now)
        wait_s = account.audio.wait_s(seconds, now)
        if wait_s > 0:
            limit = account.quota.audio_seconds_per_minute
            raise TenantAudio(
                f"this tenant may send {limit:g} s of audio a minute, and has; try again later",
                field="audio_seconds_per_minute",
                retry_after_s=wait_s,
            )

    def require_characters(self, tenant: str, count: int, *, now: float) -> None:
        """Refuse a call that brings so much text, or any at all, if the tenant must wait.

        Raises:
            TenantCharacters: With the wait.
        """
        account = self._account(tenant, now)
        wait_s = account.characters.wait_s(count, now)
        if wait_s > 0:
            limit = account.quota.characters_per_minute
            raise TenantCharacters(
                f"this tenant may send {limit:g} characters a minute, and has; try again later",
                field="characters_per_minute",
                retry_after_s=wait_s,
            )

    def take_audio(self, tenant: str, seconds: float, *, now: float) -> float:
        """Note audio that came; gives the seconds to wait before more of it is read."""
        account = self._account(tenant, now)
        if not account.audio.rate:
            return 0.0
        account.audio = account.audio.taken(seconds, now)
        return account.audio.wait_s(0.0, now)

    def take_characters(self, tenant: str, count: int, *, now: float) -> float:
        """Note text that came; gives the seconds to wait before more of it is read."""
        account = self._account(tenant, now)
        if not account.characters.rate:
            return 0.0
        account.characters = account.characters.taken(count, now)
        return account.characters.wait_s(0.0, now)

    def _account(self, tenant: str, now: float) -> _Account:
        quota = self._quota_of(tenant)
        account = self._accounts.get(tenant)
        if account is None or account.quota != quota:
            self._forget(now)
            num_open = account.num_open if account else 0
            account = _Account(
                quota,
                TokenBucket.a_minute(quota.audio_seconds_per_minute, now=now),
                TokenBucket.a_minute(quota.characters_per_minute, now=now),
                num_open,
            )
            self._accounts[tenant] = account
        account.seen = now
        return account

    def _forget(self, now: float) -> None:
        """Drop those who have nothing open and whose buckets are full again."""
        if len(self._accounts) < _MAX_TENANTS:
            rested = [
                name
                for name, one in self._accounts.items()
                if not one.num_open and now - one.seen > _REST_S
            ]
        else:
            rested = [name for name, one in self._accounts.items() if not one.num_open]
        for name in rested:
            del self._accounts[name]
