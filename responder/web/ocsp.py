"""OCSP over HTTP: a request in, the chain asked, exactly one OCSP answer out, whatever comes."""

from __future__ import annotations

from responder import log, metrics
from responder.errors import ResponderError
from responder.interfaces import Clock, ResponseSource
from responder.pki import OCSPRequest, epoch_seconds
from responder.web import exchange
from responder.web.caching import Headers, Response

_log = log.get("web.ocsp")


class OCSPEndpoint:
    """Answers OCSP requests, and counts."""

    def __init__(self, source: ResponseSource, *, clock: Clock) -> None:
        self._source = source
        self._clock = clock
        self._may_log = log.OncePerSecond()

    async def answer(
        self, asked: OCSPRequest, method: str, headers: Headers, refusal: ResponderError | None = None
    ) -> Response:
        """The response to a request that came by this method with these headers; with `refusal` where nobody needs to
        be asked."""
        for cert_id in asked.cert_ids:
            metrics.CERT_ID_HASHES.inc(cert_id.variant.hash_name)
        if asked.nonce is not None:
            metrics.NONCE_REQUESTS.inc()
        if asked.signature is not None:
            metrics.SIGNED_REQUESTS.inc()
        if refusal is not None:
            return self.refuse(refusal, method)
        try:
            answer = await self._source.respond(asked)
            body = answer.render()
        except ResponderError as error:
            return self.refuse(error, method)
        except Exception as error:  # a bug: the client gets internalError, the operator the traceback
            if self._may_log("unexpected"):
                _log.exception("unexpected_error", error=repr(error))
            return self.refuse(ResponderError("internal error"), method)
        now = self._clock.now()
        statuses = answer.cert_statuses
        metrics.REQUESTS.inc(_label(method), statuses[0].name.lower() if len(statuses) == 1 else "several")
        metrics.ANSWERS.inc(answer.source)
        metrics.RESPONSE_AGE.observe(max(0, epoch_seconds(now) - epoch_seconds(answer.this_update)))
        return exchange.answered(answer, body, method=method, headers=headers, now=now)

    def refuse(self, error: ResponderError, method: str) -> Response:
        """The response where there is no answer."""
        metrics.REQUESTS.inc(_label(method), error.label)
        if error.ocsp_status in {2, 3} and self._may_log(error.label):
            _log.warning("ocsp_error", result=error.label, error=str(error))
        return exchange.refused(error)


def _label(method: str) -> str:
    return method.lower() if method in {"GET", "POST"} else "other"
