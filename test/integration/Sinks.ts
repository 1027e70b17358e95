/** Everything that an observer of a program could keep of it, as text. */
import { Cause, Exit, Layer, Logger, References, Tracer } from "effect"
import * as Util from "node:util"

/** A thing as any exporter could come to write it. */
export const written = (thing: unknown): string => {
  const text = [Util.inspect(thing, { depth: 12, showHidden: true, maxStringLength: null }), String(thing)]
  try {
    text.push(JSON.stringify(thing) ?? "")
  } catch {
    // A value with a cycle is not written as JSON.
  }
  return text.join("\n")
}

export const make = () => {
  const logs: Array<string> = []
  const spans: Array<Tracer.NativeSpan> = []
  const logger = Logger.make((entry) => {
    const annotations = entry.fiber.getRef(References.CurrentLogAnnotations)
    logs.push(written(entry.message), Cause.pretty(entry.cause), written(entry.cause), written(annotations))
    logs.push(Logger.formatJson.log(entry), Logger.formatLogFmt.log(entry), Logger.formatSimple.log(entry))
  })
  const tracer = Tracer.make({
    span: (options) => {
      const span = new Tracer.NativeSpan(options)
      spans.push(span)
      return span
    }
  })
  return {
    logs,
    /** What is to be provided to all that is observed: logs of every level, and every span. */
    layer: Layer.mergeAll(
      Logger.layer([logger]),
      Layer.succeed(Tracer.Tracer, tracer),
      Layer.succeed(References.MinimumLogLevel, "All")
    ),
    spans: (): ReadonlyArray<string> =>
      spans.flatMap(({ attributes, events, links, name, status }) => [
        name,
        written([...attributes]),
        written(events),
        written(links.map(({ attributes }) => attributes)),
        status._tag === "Ended" ? written(status.exit) : "",
        status._tag === "Ended" && Exit.isFailure(status.exit) ? Cause.pretty(status.exit.cause) : ""
      ])
  }
}
