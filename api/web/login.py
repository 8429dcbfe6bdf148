"""The page's login, for plain HTTP routes."""

import secrets
from base64 import b64decode

from fastapi import HTTPException, Request, status


def check_login(request: Request) -> None:
    """Refuse a request without the login, if there is one.

    Raises:
        HTTPException: 401; it has not.
    """
    app = request.app
    if app.auth is None or current_user(request) is not None or _knows_password(request, app.auth):
        return
    raise HTTPException(
        status.HTTP_401_UNAUTHORIZED,
        "login must be given, got none or another. Log in on the page, or send user and password.",
        headers={"WWW-Authenticate": 'Basic realm="AnimateDiff Studio"'},
    )


def current_user(request: Request) -> str | None:
    """Return who has logged in on the page, found as Gradio does."""
    app, cookies = request.app, request.cookies
    token = cookies.get(f"access-token-{app.cookie_id}") or cookies.get(f"access-token-unsecure-{app.cookie_id}")
    user: str | None = app.tokens.get(token)
    return user


def _knows_password(request: Request, passwords: dict[str, str]) -> bool:
    scheme, _, packed = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "basic":
        return False
    try:
        user, _, password = b64decode(packed, validate=True).decode().partition(":")
    except ValueError:
        return False
    # Always compared, and in the same time for every guess.
    return secrets.compare_digest(password.encode(), passwords.get(user, "").encode()) and user in passwords
