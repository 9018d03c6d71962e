"""Sign in with the token, and sign out."""

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from retrovue.web.forms import form_of, local_address, text
from retrovue.web.guard import COOKIE, SESSION_SECONDS
from retrovue.web.rendering import render
from retrovue.web.state import state_of


async def ask(request: Request) -> Response:
    """Show the form for the token."""
    return render(request, "login.html", next=local_address(request.query_params.get("next")), wrong=False)


async def sign_in(request: Request) -> Response:
    """Begin a session if the token is right."""
    sessions = state_of(request).sessions
    form = await form_of(request)
    beyond = local_address(text(form, "next"))
    if sessions is None:
        return RedirectResponse(beyond, 303)
    cookie = sessions.begin(text(form, "token") or "")
    if cookie is None:
        return render(request, "login.html", 403, next=beyond, wrong=True)
    answer = RedirectResponse(beyond, 303)
    # A proxy that ends TLS forwards by HTTP; the Origin header has the scheme that the browser uses.
    secure = request.url.scheme == "https" or request.headers.get("origin", "").startswith("https://")
    answer.set_cookie(COOKIE, cookie, max_age=SESSION_SECONDS, httponly=True, samesite="strict", secure=secure)
    return answer


async def sign_out(request: Request) -> Response:
    """End the session of this browser."""
    answer = RedirectResponse("/login" if state_of(request).sessions else "/", 303)
    answer.delete_cookie(COOKIE)
    return answer
