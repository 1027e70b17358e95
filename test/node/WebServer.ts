/**
 * Servers on a loopback address that show what arrives, byte for byte, and answer as a test says.
 */
import { Deferred, Effect, Exit, type Scope } from "effect"
import * as Http from "node:http"
import * as Net from "node:net"
import * as Tls from "node:tls"

export interface Served {
  readonly port: number
  /** How many connections were made so far. */
  readonly connections: () => number
  /** How many of them are open. */
  readonly open: () => number
}

const listen = (server: Net.Server): Effect.Effect<Served, never, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.callback<Served>((resume) => {
      const sockets = new Set<Net.Socket>()
      let connections = 0
      server.on("connection", (socket) => {
        connections++
        sockets.add(socket)
        socket.on("error", () => {})
        socket.once("close", () => sockets.delete(socket))
      })
      server.listen(0, "127.0.0.1", () => {
        const { port } = server.address() as Net.AddressInfo
        resume(
          Effect.succeed({
            port,
            connections: () => connections,
            open: () => sockets.size,
            destroy: () => sockets.forEach((socket) => socket.destroy())
          })
        )
      })
    }),
    (served) =>
      Effect.callback<void>((resume) => {
        server.close(() => resume(Effect.void))
        ;(served as Served & { readonly destroy: () => void }).destroy()
      })
  )

export const http = (handler: Http.RequestListener) => listen(Http.createServer(handler))

/** What is written to a connection shows as it is; `answer` is called for each connection. */
export const raw = (answer: (socket: Net.Socket) => void) =>
  listen(
    Net.createServer((socket) => {
      // Who does not read does not see the other side leave.
      socket.resume()
      answer(socket)
    })
  )

/** Speaks HTTP over TLS; `names` are told which name each client asked for. */
export const https = (
  tls: { readonly cert: string; readonly key: string },
  handler: Http.RequestListener,
  names: Array<string | false> = []
) => {
  const plain = Http.createServer(handler)
  return listen(
    Tls.createServer(
      {
        ...tls,
        SNICallback: (name, done) => {
          names.push(name)
          done(null)
        }
      },
      (socket) => plain.emit("connection", socket)
    )
  )
}

/** Something that a callback tells once. */
export const signal = <A>() => {
  const deferred = Deferred.makeUnsafe<A>()
  return {
    wait: Deferred.await(deferred),
    tell: (value: A) => void Deferred.doneUnsafe(deferred, Exit.succeed(value))
  }
}
