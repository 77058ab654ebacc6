import type { Clock } from '../core/clock.ts'
import type { EventSink } from '../report/events/events.ts'

/** What every role is handed by the outside world: time, the wish to stop, and somewhere to report to. */
export interface RoleContext {
  readonly clock: Clock
  /** Aborted on the first Ctrl-C or SIGTERM: stop at a safe point and save. */
  readonly signal: AbortSignal
  readonly events: EventSink
}
