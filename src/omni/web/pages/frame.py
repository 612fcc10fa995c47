"""What every page stands in: where it is in the navigation, its title, the log's head, and the time of reading."""

from __future__ import annotations

from typing import Any

from omni.web.render import page as render
from omni.web.room import Room
from omni.web.texts import say


def show(template: str, room: Room, here: str, position: int, *, title: str = "", about: str = "", **view: Any) -> str:
    """A page in words. `here` is its name in the navigation, and its title unless it has one of its own.

    A page `about` one task follows what happens to that task, others follow everything.
    """
    frame: dict[str, Any] = {
        "here": here,
        "title": title or say(room.language, f"nav.{here}", {}),
        "position": position,
        "about": about,
        "now_ms": room.clock.wall_ms(),
        "csrf": room.csrf,
        "logged_in": room.logged_in_by_cookie,
    }
    return render(template, room.language, None, **frame, **view)
