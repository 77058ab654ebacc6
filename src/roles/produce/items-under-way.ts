import { InOrder, type Limits } from '../../core/concurrency/in-order.ts'
import type { SourceItem } from './feature-source.ts'

/** Samples that are made at the same time and handed on in the order of their inputs. */
export const itemsUnderWay = (limits: Limits): InOrder<SourceItem> => new InOrder<SourceItem>(limits, discard)

/** The oldest item, once it is made. */
export async function* nextOf(items: InOrder<SourceItem>): AsyncGenerator<SourceItem> {
  const item = await items.next()
  if (item !== undefined) yield item.value
}

async function discard(item: SourceItem): Promise<void> {
  if (item.kind === 'sample') await item.tensors[Symbol.asyncDispose]()
}
