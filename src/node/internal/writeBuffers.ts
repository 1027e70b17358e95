/**
 * Buffers for what is written to sockets, used again and again: memory that is new for each write has to be cleared by the system, and
 * collected. A socket has a buffer until it has handed the bytes on.
 */
import type * as Net from "node:net"

/** Bytes of one: what a turn writes fits as a rule. What does not gets memory of its own. */
const size = 512 * 1024

/** How many are kept for later. */
const maxFree = 16

const free: Array<Buffer> = []

/** Writes what `encode` puts into the buffer that it asks for. */
export const write = (socket: Net.Socket, encode: (allocate: (bytes: number) => Buffer) => Buffer): void => {
  let taken: Buffer | undefined
  const bytes = encode((bytes) => {
    if (bytes < small || bytes > size) return Buffer.allocUnsafe(bytes)
    taken = free.pop() ?? Buffer.allocUnsafeSlow(size)
    return taken
  })
  if (taken === undefined) return void socket.write(bytes)
  const used = taken
  // Also when the connection breaks, and the bytes went nowhere.
  socket.write(bytes, () => {
    if (free.length < maxFree) free.push(used)
  })
}

/** Bytes below which a buffer is not worth its while: the allocator's own pool does as well. */
const small = 4096
