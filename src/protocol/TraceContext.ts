/**
 * Where a request stands in a trace beyond its trace id: the W3C `traceparent` that peers send beside it, in an extension (§11).
 *
 * @since 0.1.0
 */
import { Option, type Tracer } from "effect"
import * as Headers from "effect/http/Headers"
import * as HttpTraceContext from "effect/http/HttpTraceContext"
import type * as Json from "./Json.ts"

/**
 * The member of `extensions` that holds it.
 *
 * @category constants
 * @since 0.1.0
 */
export const extension = "x-vendor.opentelemetry.tracecontext"

/**
 * The span in which the sender said it, if it told of one.
 *
 * @category conversions
 * @since 0.1.0
 */
export const read = (extensions: Json.JsonObject | undefined): Option.Option<Tracer.ExternalSpan> => {
  const context = extensions?.[extension]
  const traceparent =
    typeof context === "object" && context !== null && "traceparent" in context ? context["traceparent"] : undefined
  return typeof traceparent === "string" ? parse(traceparent) : Option.none()
}

const parse = (traceparent: string) => HttpTraceContext.w3c(Headers.fromRecordUnsafe({ traceparent }))

/**
 * The extensions that tell of a span; nothing for one whose ids are not those of the W3C.
 *
 * @category conversions
 * @since 0.1.0
 */
export const write = ({ sampled, spanId, traceId }: Tracer.AnySpan): Option.Option<Json.JsonObject> => {
  const traceparent = `00-${traceId}-${spanId}-${sampled ? "01" : "00"}`
  return Option.as(parse(traceparent), { [extension]: { traceparent } })
}
