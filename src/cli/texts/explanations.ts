import type { ErrorCode } from '../../core/errors.ts'

export interface Explanation {
  readonly cause: string
  readonly fix: string
}

/** One entry for every code: a code without its explanation does not compile. */
export const explanations: Readonly<Record<ErrorCode, Explanation>> = {
  CONFIG_INVALID: {
    cause: 'The config, a flag or an environment variable has a value that cannot work, or a key that does not exist.',
    fix: 'Each problem names its place and what fits there. `draftbridge schema` lists every key.',
  },
  REF_INVALID: {
    cause:
      'A line of a manifest does not describe a sample: a field is missing, has the wrong type, or holds tensor data.',
    fix: 'Do not edit manifests by hand. Run the producer again; samples that are there already are not made twice.',
  },
  MANIFEST_INVALID: {
    cause: 'The manifest is damaged, belongs to another store, or was written by a newer release.',
    fix: 'Check it with `draftbridge manifest verify DIR`. Point `manifest` and `store.root` at the same run, or produce again.',
  },
  SPEC_MISMATCH: {
    cause: 'A tensor has another shape or dtype than its description promises.',
    fix: 'The features were made with other settings or another target. Make them again with this config.',
  },
  FEATURE_INVALID: {
    cause:
      'A feature file cannot be used: it is cut short, holds NaN, lacks a tensor, or is a pickle with code in it. Or the loss of a training step was not finite.',
    fix: 'Remove or remake the file that is named. Code in feature files is never run. Start again: the good samples stay. After a loss that was not finite look at the samples that are named, or lower train.optimizer.lr; the last checkpoint is good.',
  },
  SAMPLE_CORRUPT: {
    cause: 'The bytes of a stored sample are not the ones that were put: a disk or a copy went wrong.',
    fix: 'Look after the disk and run the producer again: training has moved the object to quarantine/ of the store. Or let the run lose a few: train.maxCorruptShare.',
  },
  CHECKPOINT_INVALID: {
    cause: 'A checkpoint is incomplete, damaged, or was saved by a run with other settings.',
    fix: 'Delete that checkpoint folder: the run goes on from the one before. For other settings take another run.dir.',
  },
  CONTRACT_MISMATCH: {
    cause: 'Features and consumer do not fit each other: another target, other layers, or another draft size.',
    fix: 'Use the target that the features were captured from, or capture again. `draftbridge manifest show DIR` tells.',
  },
  EXPORT_MISMATCH: {
    cause: 'An exported draft does not give the same numbers as the checkpoint it came from.',
    fix: 'Do not serve it. Export again, and report it if it happens twice.',
  },
  SAMPLE_NOT_FOUND: {
    cause: 'The store does not hold the sample that a ref names: it was freed, deleted, or the store is another one.',
    fix: 'Set store.retain to true for more than one epoch, and check that store.root is the folder of the producer.',
  },
  SAMPLE_STALE: {
    cause: 'The sample was put again after the ref was made, and an old ref never reads new data.',
    fix: 'Read the manifest again. Do not run two producers with one run id.',
  },
  STORE_UNAVAILABLE: {
    cause:
      'The store, or the folder of the checkpoints, cannot be reached: it is missing, not mounted, or not allowed.',
    fix: 'Check store.root with `draftbridge doctor -c FILE`, and run.dir, on the machine that failed, then start again.',
  },
  PYTHON_UNAVAILABLE: {
    cause: 'CPython does not start inside Node, or a package it needs does not import.',
    fix: 'Run `npm run setup`, then `draftbridge doctor`. After an update of Python set up again.',
  },
  PEER_TIMEOUT: {
    cause: 'The other pool was not heard of for launch.peerTimeoutSeconds.',
    fix: 'See whether the producer still runs and writes to the same manifest folder; give slow ones more time.',
  },
  PEER_FAILED: {
    cause: 'The producer ended with an error, and said so in the manifest.',
    fix: 'Mend the error that the producer reported, start it again, then this one.',
  },
  PYTHON_RAISED: {
    cause: 'Python code raised an error that has no code of its own.',
    fix: 'Run again with --verbose for the traceback. If it comes from draftbridge, please report it.',
  },
  OUT_OF_MEMORY: {
    cause: 'A device, or the host, has no room for what was asked.',
    fix: 'Lower data.maxLength, train.batch, data.batchTokens or train.ttt.steps, or use more ranks.',
  },
  RANK_DIED: {
    cause: 'A training process ended without being asked: killed, crashed, or out of host memory.',
    fix: 'The message names rank and signal. SIGKILL often is the out-of-memory killer. The same command goes on from the last checkpoint.',
  },
  RANK_HUNG: {
    cause:
      'A training process gave no sign of life for too long: a stuck collective, or a dead network or file system.',
    fix: 'Check the network and the mounts of that node. The same command goes on from the last checkpoint.',
  },
  STORE_CLOSED: {
    cause: 'The store was used after it was closed.',
    fix: 'In a program of your own keep the store open as long as its leases. From the command line this is a bug.',
  },
  STORE_OVER_BUDGET: {
    cause:
      'A put would take the store above store.quota, also after counting again what is there. Nothing was changed.',
    fix: 'See `draftbridge store ls`. Free samples with `store rm RUN` or `store gc`, or raise store.quota, then start again.',
  },
  STORE_FULL: {
    cause: 'The disk, or the quota of the file system, has no space left. Nothing half-written stays.',
    fix: 'Free some space (`draftbridge store gc` removes leftovers) and start again: what is there already is kept.',
  },
  STORE_BUSY: {
    cause:
      'Another living process holds what is needed: a sample, a run, a lock. Or this one was silent for so long that it was taken for dead.',
    fix: 'The message names the process. Wait until it is done or end it, then start again; `draftbridge store ls --samples` shows who holds what.',
  },
  STORE_AUTH: {
    cause:
      'The store is protected and the key is missing, unsafe or wrong; or a manifest, an object or store.json was written by somebody without it.',
    fix: 'Give the key that the store was made with in store.auth.keyFile (mode 0600) or DRAFTBRIDGE_STORE_KEY. If the key is right, find out who can write to the store: docs/security.md.',
  },
  INTERRUPTED: {
    cause: 'A signal asked the run to stop; it saved and stopped.',
    fix: 'The same command goes on from there.',
  },
}
