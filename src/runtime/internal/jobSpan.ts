/**
 * The span of a run, in the trace of its job (§11).
 */
import { Tracer } from "effect"
import type * as Job from "../Job.ts"

/**
 * A span below the one in which the job was asked for. Where nobody told of one in this trace there is no such span: then its id is made up
 * from that of the trace, which cannot be had without, and an attribute says so.
 */
export const options = (
  { agent, id, traceId }: Job.JobRecord,
  asked: Tracer.AnySpan | undefined
): Tracer.SpanOptionsNoTrace => {
  const attributes = { "arcp.job_id": id, "arcp.agent": agent, "arcp.trace_id": traceId }
  if (asked?.traceId === traceId) return { attributes, parent: asked }
  const sampled = asked?.sampled ?? true
  return {
    attributes: { ...attributes, "arcp.parent_span": "unknown" },
    parent: Tracer.externalSpan({ traceId, spanId: spanIdOf(traceId), sampled }),
    links: asked === undefined || !isTraced(asked) ? [] : [{ span: asked, attributes: {} }]
  }
}

/** Not all zeros, which would be none. */
const spanIdOf = (traceId: string): string => {
  const half = traceId.slice(16)
  return /^0*$/.test(half) ? traceId.slice(0, 16) : half
}

/** Where tracing is switched off there is a span all the same, and it has no ids. */
const isTraced = ({ traceId }: Tracer.AnySpan): boolean => /^[0-9a-f]{32}$/.test(traceId)
