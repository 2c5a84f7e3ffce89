"""How a route reaches the house that the application opened."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Request

from columnservice.delivery.house import House


async def _house(request: Request) -> House:  # not async, it would be given a thread
    house: House = request.app.state.house
    return house


Home = Annotated[House, Depends(_house)]
