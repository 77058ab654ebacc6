/** The signals that ask a command to stop, and the exit status of a command that they stopped. */
export const STOP_EXIT = { SIGINT: 130, SIGTERM: 143 } as const
export type StopSignal = keyof typeof STOP_EXIT

interface ErrorEntry {
  readonly exit: number
  /** Whether the same command may succeed later without a change. */
  readonly retryable: boolean
  /** The two texts of `draftbridge explain`. */
  readonly cause: string
  readonly fix: string
}

/**
 * Every failure that this program can report. `ErrorCode` in python/draftbridge/bridge/errors.py lists the same codes; a
 * test compares the two.
 */
export const errorTable = {
  CONFIG_INVALID: {
    exit: 64,
    retryable: false,
    cause:
      'The config, a flag or an environment variable has an unknown name, or a value that is invalid or does not fit the other values. Or run.id is that of other work in the same store.',
    fix: 'The message lists each problem with its place and the values that are allowed there. `draftbridge schema` lists every key.',
  },
  REF_INVALID: {
    exit: 65,
    retryable: false,
    cause:
      'A line of a manifest segment is not a valid sample ref: a field is missing, has the wrong type, or contains tensor data.',
    fix: 'Run the producer again; it keeps the samples that are already stored. Do not edit manifests by hand.',
  },
  MANIFEST_INVALID: {
    exit: 65,
    retryable: false,
    cause:
      'The manifest is damaged, incomplete, belongs to another store or run, or was written by a newer version of draftbridge.',
    fix: 'Check it with `draftbridge manifest verify DIR`. Make sure that `manifest` and `store.root` belong to the same run, or run the producer again.',
  },
  SPEC_MISMATCH: {
    exit: 65,
    retryable: false,
    cause: 'A tensor has another shape or dtype than its feature spec declares.',
    fix: 'The features were made with other settings or for another target. Produce them again with this config.',
  },
  FEATURE_INVALID: {
    exit: 65,
    retryable: false,
    cause:
      'An input cannot be used. A feature file: it is truncated, contains NaN, lacks a tensor, or is a pickle that contains code. Conversations: the file cannot be read, or more than data.maxBadShare of them are bad. Or the loss of a training step was NaN or infinite.',
    fix: 'Remove or replace the file that the message names, then run the same command again; it keeps the samples that are already stored. docs/conversations.md says which conversations can be captured. draftbridge never runs code from feature files. If the loss was NaN or infinite, inspect the samples that the message names, or lower train.optimizer.lr; the last checkpoint is good.',
  },
  SAMPLE_CORRUPT: {
    exit: 65,
    retryable: false,
    cause: 'The bytes of a stored sample are not the bytes that the producer wrote. Usually a disk or a copy failed.',
    fix: 'Check the disk, then run the producer again: training has moved the damaged object to quarantine/ in the store. To let training continue without a few samples, set train.maxCorruptShare.',
  },
  CHECKPOINT_INVALID: {
    exit: 65,
    retryable: false,
    cause: 'A checkpoint is incomplete or damaged, or was saved by a run with other settings.',
    fix: 'Delete that checkpoint folder; the run then resumes from the previous checkpoint. To train with other settings, use another run.dir.',
  },
  CONTRACT_MISMATCH: {
    exit: 65,
    retryable: false,
    cause:
      'The features do not fit this training: another target, other auxiliary layers, other sizes, or logits that training would not rebuild.',
    fix: 'Use the target that the features were captured from (`draftbridge manifest show DIR` prints it), or capture again.',
  },
  EXPORT_MISMATCH: {
    exit: 65,
    retryable: false,
    cause: 'An exported draft does not compute the same numbers as the checkpoint that it was exported from.',
    fix: 'Do not serve it. Export it again. If it fails twice, please report it.',
  },
  SAMPLE_NOT_FOUND: {
    exit: 66,
    retryable: false,
    cause:
      'The store does not contain a sample that the manifest lists: it was freed or deleted, or this is another store.',
    fix: 'Check that store.root is the folder that the producer wrote to. For more than one epoch set store.retain to true. Then run the producer again.',
  },
  SAMPLE_STALE: {
    exit: 66,
    retryable: false,
    cause: 'A producer stored this sample again after the ref was made. A ref only ever reads its own generation.',
    fix: 'Run the same command again, so that it reads the current manifest. Do not run two producers with the same run.id.',
  },
  STORE_UNAVAILABLE: {
    exit: 69,
    retryable: true,
    cause:
      'The store, the manifest or the run folder cannot be reached: the folder is missing, not mounted, or access is denied.',
    fix: 'On the machine that failed, check store.root with `draftbridge doctor -c FILE`, and check run.dir. Then run the same command again.',
  },
  PYTHON_UNAVAILABLE: {
    exit: 69,
    retryable: false,
    cause: 'CPython does not start inside Node, or a required Python package cannot be imported.',
    fix: 'Run `npm run setup`, then `draftbridge doctor`. Run the setup again after every Python update.',
  },
  PEER_TIMEOUT: {
    exit: 69,
    retryable: true,
    cause:
      'For launch.peerTimeoutSeconds there was no manifest, no heartbeat of a producer, or not every node of the training pool.',
    fix: 'Check that the producer and all nodes are running and that all configs name the same manifest and run folder. If one is only slow, raise launch.peerTimeoutSeconds.',
  },
  PEER_FAILED: {
    exit: 69,
    retryable: false,
    cause: 'A producer, or another node of the training pool, ended with an error. The message has its error code.',
    fix: 'Fix the error that it reported. Start it again, then this command.',
  },
  PYTHON_RAISED: {
    exit: 70,
    retryable: false,
    cause: 'Python code raised an exception that has no error code.',
    fix: 'Run again with --verbose to see the traceback. If it comes from draftbridge, please report it.',
  },
  OUT_OF_MEMORY: {
    exit: 70,
    retryable: false,
    cause: 'A GPU or the host does not have enough memory.',
    fix: 'Lower data.maxLength, train.batch, data.batchTokens or train.ttt.steps, or use more ranks.',
  },
  ENGINE_DIED: {
    exit: 70,
    retryable: false,
    cause: 'The process of the engine that runs the target (target.engine: vllm) ended, or could not load the target.',
    fix: 'The message shows the last lines of its log. Check target.vllm.args and the memory of the GPUs. The same command goes on with what is stored.',
  },
  RANK_DIED: {
    exit: 70,
    retryable: false,
    cause: 'A rank ended unexpectedly: it was killed, it crashed, or the host ran out of memory.',
    fix: 'The message names the rank, the signal and its log. SIGKILL often comes from the out-of-memory killer. The same command resumes from the last checkpoint.',
  },
  RANK_HUNG: {
    exit: 70,
    retryable: false,
    cause:
      'A rank sent no heartbeat for too long: a collective operation is stuck, or a network or a file system does not answer.',
    fix: 'Check the network and the mounts of that node. The same command resumes from the last checkpoint.',
  },
  STORE_CLOSED: {
    exit: 70,
    retryable: false,
    cause: 'The store was used after it was closed.',
    fix: 'In your own program, keep the store open until all its leases are disposed. On the command line this is a bug; please report it.',
  },
  STORE_OVER_BUDGET: {
    exit: 75,
    retryable: true,
    cause: 'Storing this sample would exceed store.quota. Nothing was changed.',
    fix: 'Inspect the store with `draftbridge store ls`. Free space with `store rm RUN` or `store gc`, or raise store.quota. Then run the same command again.',
  },
  STORE_FULL: {
    exit: 75,
    retryable: true,
    cause: 'The disk is full, or the disk quota of this user is used up. No incomplete sample is left behind.',
    fix: 'Free some space; `draftbridge store gc` removes leftovers. Then run the same command again: it keeps what is already stored.',
  },
  STORE_BUSY: {
    exit: 75,
    retryable: true,
    cause:
      'Another running process holds a sample, a run or a lock that this command needs. Or this process was silent for so long that others treated it as dead.',
    fix: 'The message names the other process. Wait for it or end it, then run the same command again. `draftbridge store ls --samples` shows which process holds which sample.',
  },
  STORE_AUTH: {
    exit: 77,
    retryable: false,
    cause:
      'The store has a key, and the configured key is missing, wrong, or readable by others. Or a manifest, an object or store.json was written without the key.',
    fix: 'Name the key file of this store in store.auth.keyFile (file mode 0600), or set DRAFTBRIDGE_STORE_KEY. If the key is right, find out who can write to the store; see docs/security.md.',
  },
  INTERRUPTED: {
    exit: STOP_EXIT.SIGINT,
    retryable: false,
    cause: 'Ctrl-C or SIGTERM stopped the command. Training and the producer save their work before they stop.',
    fix: 'Run the same command again to resume.',
  },
} as const satisfies Record<string, ErrorEntry>

export type ErrorCode = keyof typeof errorTable
export const errorCodes = Object.keys(errorTable) as readonly ErrorCode[]
