/**
 * The list of outstanding credentials (§14) in files of one directory, each written whole, and on the disk before it counts.
 *
 * ```ts
 * import { NodeCredentialStore } from "effect-arcp/node"
 *
 * const Outstanding = NodeCredentialStore.layer("/var/lib/arcp/outstanding")
 * ```
 *
 * The directory is of one runtime alone, and the same from start to start: what a runtime finds there at its start, it revokes.
 *
 * @since 0.1.0
 */
import * as NodeServices from "@effect/platform-node/NodeServices"
import { Effect, FileSystem, Layer, Path, type PlatformError } from "effect"
import { KeyValueStore } from "effect/persistence"
import * as CredentialStore from "../authority/CredentialStore.ts"

/** Before the name of a file that is being written: no key begins so. */
const unfinished = "~"

const failed = (method: string, key: string) => (cause: PlatformError.PlatformError) =>
  new KeyValueStore.KeyValueStoreError({
    method,
    key,
    message: `a file cannot be written (${cause.reason._tag})`,
    cause
  })

/** As the ordinary store of files, but that what is written survives the machine as well. */
const files = (directory: string) =>
  Layer.effect(
    KeyValueStore.KeyValueStore,
    Effect.gen(function* () {
      const fs = yield* FileSystem.FileSystem
      const path = yield* Path.Path
      const store = yield* KeyValueStore.KeyValueStore
      for (const name of yield* fs.readDirectory(directory)) {
        if (name.startsWith(unfinished)) yield* fs.remove(path.join(directory, name))
      }
      let writes = 0

      const write = Effect.fnUntraced(function* (key: string, value: Uint8Array) {
        const name = encodeURIComponent(key)
        const beside = path.join(directory, `${unfinished}${++writes}.${name}`)
        const file = yield* fs.open(beside, { flag: "wx", mode: 0o600 })
        yield* Effect.andThen(file.writeAll(value), file.sync).pipe(
          Effect.andThen(fs.rename(beside, path.join(directory, name))),
          Effect.onError(() => Effect.ignore(fs.remove(beside, { force: true })))
        )
        // The name is on the disk when the directory is. There are systems that do not open one.
        const folder = yield* Effect.option(fs.open(directory, { flag: "r" }))
        if (folder._tag === "Some") yield* folder.value.sync
      }, Effect.scoped)

      return KeyValueStore.make({
        ...store,
        set: (key, value) =>
          Effect.mapError(
            write(key, typeof value === "string" ? new TextEncoder().encode(value) : value),
            failed("set", key)
          )
      })
    })
  ).pipe(Layer.provide(KeyValueStore.layerFileSystem(directory)))

/**
 * Makes the directory if it is not there.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = (
  directory: string,
  options: Pick<CredentialStore.Options, "maxOutstanding"> = {}
): Layer.Layer<CredentialStore.CredentialStore, CredentialStore.CredentialStoreError> =>
  CredentialStore.layerKeyValueStore({ ...options, durable: true }).pipe(
    Layer.provide(files(directory)),
    Layer.provide(NodeServices.layer),
    Layer.catchTag("PlatformError", ({ reason }) =>
      Layer.effect(
        CredentialStore.CredentialStore,
        new CredentialStore.CredentialStoreError({
          reason: "Unavailable",
          message: `the list of credentials: ${directory} cannot be used (${reason._tag})`
        })
      )
    )
  )
