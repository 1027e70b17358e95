/**
 * What a host has to offer so that what a lease judged is what is used: files and directories that are held, so that it is the same thing
 * under the same path whatever becomes of its name.
 *
 * A path is followed here one name at a time, from the root down, and each step is taken from a directory that is already held. So another
 * process that puts a link in the place of a directory is either seen, and the link is judged, or it comes too late.
 *
 * @since 0.1.0
 */
import { Context, type Effect, type FileSystem, Option, type PlatformError, type Scope } from "effect"

/**
 * Something in the file system of the host that is held for as long as a scope is open.
 *
 * @category models
 * @since 0.1.0
 */
export interface Anchor {
  /** What it is; a link is held as the link itself. */
  readonly type: FileSystem.File.Type
  /**
   * Where the host's `FileSystem` finds it while it is held, also when it was moved or something else has its name. Of a directory,
   * `path/name` is the entry of that name. It is no place that a lease could speak of.
   */
  readonly path: string
}

/**
 * How far names led, one after the other, without following a link.
 *
 * @category models
 * @since 0.1.0
 */
export interface Way {
  /**
   * How many of the names are passed. If these are not all, then either `anchor` is no directory, so that nothing is below it, or it has no
   * entry of the next name.
   */
  readonly passed: number
  /** What the last of them leads to; the directory at the start if it is none. */
  readonly anchor: Anchor
  /** The directory that `anchor` is an entry of; nothing if no name is passed. */
  readonly parent: Anchor | undefined
}

/**
 * The port: a host that has no native means of the kind leaves it out.
 *
 * @category models
 * @since 0.1.0
 */
export interface AnchoredFiles {
  /** The directory `/`. */
  readonly root: Effect.Effect<Anchor, PlatformError.PlatformError, Scope.Scope>
  /** Goes as far as it can, waits for nothing that it meets, and holds what it came to and the directory before. */
  readonly walk: (
    directory: Anchor,
    names: ReadonlyArray<string>
  ) => Effect.Effect<Way, PlatformError.PlatformError, Scope.Scope>
  /** Removes the entry of this name, which is not a directory. */
  readonly unlink: (directory: Anchor, name: string) => Effect.Effect<void, PlatformError.PlatformError>
  /** Removes the directory of this name, which is empty. */
  readonly removeDirectory: (directory: Anchor, name: string) => Effect.Effect<void, PlatformError.PlatformError>
}

/**
 * What the host offers; nothing by default.
 *
 * @category services
 * @since 0.1.0
 */
export const AnchoredFiles = Context.Reference<Option.Option<AnchoredFiles>>("arcp/leased/AnchoredFiles", {
  defaultValue: Option.none
})
