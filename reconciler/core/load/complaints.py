"""Collects every complaint of one run about a file, so that all are told at once, in the order of their places."""

from __future__ import annotations

from dataclasses import dataclass, field

from reconciler.core.schemas.validate import Finding
from reconciler.core.values.paths import Part, join
from reconciler.diagnostics import Diagnostic, FileError, Span


@dataclass(slots=True)
class Complaints:
    """A growing list of errors and warnings; `error` and `warn` take what a Diagnostic takes."""

    errors: list[Diagnostic] = field(default_factory=list)
    warnings: list[Diagnostic] = field(default_factory=list)

    def error(
        self,
        summary: str,
        span: Span | None = None,
        *,
        address: str | None = None,
        provider: str | None = None,
        detail: str = "",
        hint: str = "",
        related: tuple[tuple[str, Span], ...] = (),
    ) -> None:
        self.errors.append(
            Diagnostic(
                summary, span=span, address=address, provider=provider, detail=detail, hint=hint, related=related
            )
        )

    def warn(self, summary: str, span: Span | None = None, *, detail: str = "", hint: str = "") -> None:
        self.warnings.append(Diagnostic(summary, severity="warning", span=span, detail=detail, hint=hint))

    def finding(
        self,
        finding: Finding,
        span: Span | None,
        *,
        prefix: tuple[Part, ...] = (),
        address: str | None = None,
        provider: str | None = None,
    ) -> None:
        """A schema finding. `prefix` is the path to what was judged, so that the summary can be read alone."""
        path = (*prefix, *finding.path)
        if finding.summary.startswith("`"):  # it names the key itself
            where = join(path[:-1] if finding.at_key else path)
            summary = f"{where}: {finding.summary}" if where else finding.summary
        else:
            summary = f"`{join(path) or 'the value'}` {finding.summary}"
        self.error(summary, span, address=address, provider=provider, detail=finding.detail, hint=finding.hint)

    def sorted_errors(self) -> tuple[Diagnostic, ...]:
        """All errors by place, those without one last; what several instances of one entry share is told once."""
        told = {(error.span or error.address, error.summary, error.detail): error for error in reversed(self.errors)}
        return tuple(sorted(told.values(), key=_place))

    def raise_errors(self) -> None:
        """Raise FileError with every error, if there is any."""
        if self.errors:
            raise FileError(*self.sorted_errors())


def _place(diagnostic: Diagnostic) -> tuple[bool, str, int, int, str, str]:
    span = diagnostic.span
    if span is None:
        return (True, "", 0, 0, diagnostic.address or "", diagnostic.summary)
    return (False, span.file, span.line, span.column, diagnostic.address or "", diagnostic.summary)
