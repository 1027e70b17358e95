/**
 * A real HTTP server on a loopback address, whose next answers a test can spoil.
 */
import { Deferred, Effect } from "effect"
import * as Http from "node:http"

export interface Call {
  readonly method: string
  readonly url: URL
  readonly headers: Http.IncomingHttpHeaders
  readonly text: string
}

export interface Answer {
  readonly status: number
  readonly body: unknown
  readonly headers?: Http.OutgoingHttpHeaders
}

/** What becomes of an answer on its way back. */
export type Fault =
  /** Another answer; the real one is not made. */
  | {
      readonly _tag: "Answer"
      readonly status: number
      readonly text: string
      readonly headers?: Http.OutgoingHttpHeaders
    }
  /** The real one is made, and never sent. */
  | { readonly _tag: "Hang" }
  /** The real one is made, and sent in part; the connection is then cut. */
  | { readonly _tag: "Cut"; readonly bytes: number }
  /** The real one is made and then bent. */
  | { readonly _tag: "Bend"; readonly bend: (answer: Answer) => Answer }
  /** The connection is cut before anything is made. */
  | { readonly _tag: "Refuse" }

export const answer = (status: number, body: unknown, headers?: Http.OutgoingHttpHeaders): Fault => ({
  _tag: "Answer",
  status,
  text: typeof body === "string" ? body : JSON.stringify(body),
  ...(headers === undefined ? undefined : { headers })
})

export interface HttpFake {
  readonly url: string
  readonly calls: Array<Call>
  /** The calls of one path. */
  readonly to: (path: string) => ReadonlyArray<Call>
  /** Spoils the next call of a path, and each call after it once more is asked for. */
  readonly spoil: (path: string, fault: Fault) => void
  /** Done once a call of the path has been dealt with, however it is answered. */
  readonly reached: (path: string) => Effect.Effect<void>
}

export const make = Effect.fnUntraced(function* (handle: (call: Call) => Answer) {
  const faults = new Map<string, Array<Fault>>()
  const waiting = new Map<string, Array<Deferred.Deferred<void>>>()
  const calls: Array<Call> = []

  const respond = (call: Call, response: Http.ServerResponse) => {
    const fault = faults.get(call.url.pathname)?.shift()
    const write = ({ body, headers, status }: Answer) => {
      response.writeHead(status, { "content-type": "application/json", ...headers })
      response.end(body === undefined ? "" : JSON.stringify(body))
    }
    if (fault === undefined) return write(handle(call))
    switch (fault._tag) {
      case "Answer":
        response.writeHead(fault.status, { "content-type": "application/json", ...fault.headers })
        return response.end(fault.text)
      case "Refuse":
        return response.destroy()
      case "Bend":
        return write(fault.bend(handle(call)))
      case "Hang":
        return handle(call)
      case "Cut": {
        const { body, headers, status } = handle(call)
        const text = JSON.stringify(body)
        response.writeHead(status, { ...headers, "content-type": "application/json", "content-length": text.length })
        response.write(text.slice(0, fault.bytes), () => response.destroy())
      }
    }
  }

  const server = Http.createServer((request, response) => {
    let text = ""
    request.setEncoding("utf8")
    request.on("data", (chunk: string) => {
      text += chunk
    })
    request.on("end", () => {
      const url = new URL(request.url ?? "/", "http://fake")
      const call = { method: request.method ?? "", url, headers: request.headers, text }
      calls.push(call)
      respond(call, response)
      for (const deferred of waiting.get(url.pathname) ?? []) Deferred.doneUnsafe(deferred, Effect.void)
      waiting.delete(url.pathname)
    })
  })

  yield* Effect.acquireRelease(
    Effect.callback<void>((resume) => {
      server.listen(0, "127.0.0.1", () => resume(Effect.void))
    }),
    () =>
      Effect.callback<void>((resume) => {
        server.close(() => resume(Effect.void))
        server.closeAllConnections()
      })
  )
  const address = server.address()
  if (address === null || typeof address === "string") return yield* Effect.die("no address")

  const fake: HttpFake = {
    url: `http://127.0.0.1:${address.port}`,
    calls,
    to: (path) => calls.filter((call) => call.url.pathname === path),
    spoil: (path, fault) => {
      faults.set(path, [...(faults.get(path) ?? []), fault])
    },
    reached: (path) =>
      Effect.suspend(() => {
        const deferred = Deferred.makeUnsafe<void>()
        waiting.set(path, [...(waiting.get(path) ?? []), deferred])
        return Deferred.await(deferred)
      })
  }
  return fake
})
