/* The rule that keeps revocation safe (docs/design.md, "A revocation"), small enough to try every interleaving of it.
 *
 * One certificate whose status changes CHANGES times (version 0 is `good`), HOSTS hosts with a table each, one record
 * store that evicts and goes back in time, one slow signer, clients that ask all the time. Claim: an answer to a
 * request sent after a change returned 200 is never of a lower version.
 *
 * Each -D below takes one rule away; then spin must find a counter-example, which shows that the rule is needed and
 * that the check can fail. README.md has the commands.
 */
#ifndef HOSTS
#define HOSTS 2
#endif
#ifndef CHANGES
#define CHANGES 2
#endif
#ifndef RENEWALS
#define RENEWALS 2      /* lease grants a host can get: the first one is its join */
#endif
#define NONE 255
#define MAX(a, b) ((a) > (b) -> (a) : (b))

/* Postgres, the one authority */
byte version = 0;             /* of the status row */
byte granted[HOSTS];          /* lease grants so far; the lease counts while `leased` */
bool leased[HOSTS];           /* what the database believes */
byte acknowledged[HOSTS];     /* version + 1, so that 0 is "nothing yet" */

/* The record store: a cache that may lose or resurrect anything */
byte store = NONE;
byte ever_stored = NONE;

/* A host's segment */
byte table[HOSTS] = NONE;
byte floors[HOSTS];
byte trust[HOSTS];            /* number of the grant whose deadline the segment holds; 0 is none */
byte past[HOSTS];             /* grants up to this number are past their deadline on the host's clock */
#define TRUSTED(h) (trust[h] > past[h])

byte certain = 0;             /* the highest version for which a change returned 200 */

inline put_store(v) {         /* compare and set, one script */
    atomic {
        if
#ifdef NO_COMPARE
        :: true -> store = v
#else
        :: store == NONE || v > store -> store = v
        :: else
#endif
        fi;
        if :: ever_stored == NONE || v > ever_stored -> ever_stored = v :: else fi
    }
}

inline put_table(h, v) {      /* under the slot's lock: floor and version are compared inside */
    atomic {
        if
#ifdef NO_FLOOR_IN_TABLE
        :: table[h] == NONE || v > table[h] -> table[h] = v
#else
        :: v >= floors[h] && (table[h] == NONE || v > table[h]) -> table[h] = v
#endif
        :: else
        fi
    }
}

/* Commits changes, and says 200 once every unexpired lease has acknowledged. */
proctype revoker() {
    byte mine;
    do
    :: version < CHANGES ->
        atomic { version++; mine = version }
        atomic {              /* one statement on the primary */
            (leased[0] == false || acknowledged[0] > mine) && (leased[HOSTS - 1] == false || acknowledged[HOSTS - 1] > mine);
            certain = MAX(certain, mine)
        }
    :: else -> break
    od
}

/* One a host: renews the lease with the same read that brings the changes, applies them, moves the deadline, acknowledges. */
proctype keeper(byte h) {
    byte seen, grant;
    do
    :: granted[h] < RENEWALS ->
        /* Two transactions: first the lease, then the changes that it must have applied. */
#ifdef READ_FIRST
        atomic { seen = version }
#endif
        atomic {
            granted[h]++; grant = granted[h]; leased[h] = true;
#ifdef TRUST_FIRST
            if :: grant > past[h] -> trust[h] = grant :: else fi;
#endif
        }
#ifndef READ_FIRST
        atomic { seen = version }
#endif
#ifdef ACKNOWLEDGE_FIRST
        atomic { acknowledged[h] = MAX(acknowledged[h], seen + 1) }
#endif
        atomic { floors[h] = MAX(floors[h], seen) }
        atomic { if :: table[h] != NONE && table[h] < floors[h] -> table[h] = NONE :: else fi }
        /* Counted from before the renewal was sent: a grant may be past its deadline by now. */
        atomic { if :: grant > past[h] -> trust[h] = grant :: else fi }
        atomic { acknowledged[h] = MAX(acknowledged[h], seen + 1) }
        /* An announcement between renewals: read, apply, acknowledge, no new deadline. */
        do
        :: version > seen -> atomic { seen = version }
            atomic { floors[h] = MAX(floors[h], seen) }
            atomic { if :: table[h] != NONE && table[h] < floors[h] -> table[h] = NONE :: else fi }
            atomic { acknowledged[h] = MAX(acknowledged[h], seen + 1) }
        :: true -> break
        od
    :: else -> break
    od
}

/* Time: a deadline passes on the host first (its clock started earlier), in the database later. */
proctype time() {
    do
    :: past[0] < granted[0] -> atomic { past[0]++ }
    :: past[HOSTS - 1] < granted[HOSTS - 1] -> atomic { past[HOSTS - 1]++ }
#ifdef DATABASE_EXPIRES_FIRST
    :: leased[0] -> atomic { leased[0] = false }
    :: leased[HOSTS - 1] -> atomic { leased[HOSTS - 1] = false }
#else
    :: atomic { leased[0] && past[0] >= granted[0] -> leased[0] = false }
    :: atomic { leased[HOSTS - 1] && past[HOSTS - 1] >= granted[HOSTS - 1] -> leased[HOSTS - 1] = false }
#endif
    :: true -> break
    od
}

/* The store evicts, and comes back with what it held long ago (a failover, a restored backup). */
proctype misfortune() {
    do
    :: atomic { store != NONE -> store = NONE }
    :: atomic { ever_stored != NONE -> store = 0 }
    :: true -> break
    od
}

/* A signer that reads a status and puts its record whenever it likes. */
proctype signer() {
    byte read;
    do
    :: read = version; put_store(read)
    :: true -> break
    od
}

/* A worker of each host, with a client that remembers what was certain when it sent its request. */
proctype worker(byte h) {
    byte sent, answer;
    bool trusted;
    byte rounds = 0;
    do
    :: rounds < 2 ->
        rounds++;
        sent = certain;
        answer = NONE;
        trusted = false;
#ifndef TRUST_LAST
        /* First of all: a host that joins in the middle of an answer has its floors for the next one only. */
        trusted = TRUSTED(h);
#endif
        if
        :: atomic { table[h] != NONE -> answer = table[h] }       /* one seqlock read */
        :: table[h] == NONE ->
            if
            :: atomic { store != NONE -> answer = store }         /* a read of the store: the reply waits in a socket */
            :: atomic { answer = version }                        /* or of the primary, then a signature is made */
                put_store(answer)
            fi;
            put_table(h, answer);
#ifndef NO_FLOOR
            /* Just before it is written. */
            if :: answer < floors[h] -> answer = NONE :: else fi
#endif
        fi;
#ifdef TRUST_LAST
        trusted = TRUSTED(h);
#endif
#ifdef NO_TRUST
        trusted = true;
#endif
        if
        :: answer != NONE && trusted -> assert(answer >= sent)
        :: else                                                   /* tryLater, or another round */
        fi
    :: else -> break
    od
}

init {
    byte h = 0;
    atomic {
        run revoker(); run time(); run misfortune(); run signer();
        do
        :: h < HOSTS -> run keeper(h); run worker(h); h++
        :: else -> break
        od
    }
}
