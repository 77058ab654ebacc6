import type { Clock } from '../core/clock.ts'
import type { Monotonic } from '../core/liveness/monotonic.ts'
import type { EventSink } from '../report/events/events.ts'

/** What every role gets from its caller: the clock, the stop signal, and the receiver of its events. */
export interface RoleContext {
  /** For stamps. */
  readonly clock: Clock
  /** For durations. Default: that of this process. */
  readonly time?: Monotonic
  /** Aborted on the first Ctrl-C or SIGTERM: the role then stops at a safe point and saves. */
  readonly signal: AbortSignal
  readonly events: EventSink
}
