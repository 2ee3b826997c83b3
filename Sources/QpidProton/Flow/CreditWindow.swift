/// Decides how much credit a receiver grants.
///
/// A message takes one place of the window from the grant of its credit until the application has settled it, or until
/// it has taken it, as configured. Free places are granted when they are at least half of the window, and fewer when the
/// application waits and no credit is left: else the link would stall.
struct CreditWindow {
    /// Nil for credit that the application grants by hand.
    let size: Int?
    /// Credit granted for which no message has begun to arrive.
    private(set) var outstanding = 0
    /// Messages that hold a place: arrived, and not yet settled or taken.
    private(set) var held = 0
    private(set) var isPaused = false
    /// The application waits for a message, and there was no credit left.
    private var isStarved = false

    init(size: Int?) {
        self.size = size.map { max(1, $0) }
    }

    /// Counts credit that the application granted. Returns what may be granted: never a negative number or an overflow.
    mutating func grant(_ credit: Int) -> Int {
        let granted = min(max(0, credit), Int(Int32.max) - self.outstanding)
        self.outstanding += granted
        return granted
    }

    /// The credit to grant now under an automatic window; 0 until half of it is free.
    mutating func topUp() -> Int {
        guard let size = self.size, !self.isPaused else { return 0 }
        let free = size - self.outstanding - self.held
        guard free > 0, free >= size - size / 2 || (self.isStarved && self.outstanding == 0) else { return 0 }
        self.isStarved = false
        return self.grant(free)
    }

    /// The application waits for a message, and there was no credit left when it began to.
    mutating func starve() {
        self.isStarved = true
    }

    /// A message has arrived. Returns false when it had no credit.
    mutating func arrive(holdsPlace: Bool) -> Bool {
        guard self.outstanding > 0 else { return false }
        self.outstanding -= 1
        if holdsPlace { self.held += 1 }
        return true
    }

    /// Messages have given their places back.
    mutating func free(_ count: Int) {
        self.held = max(0, self.held - count)
    }

    /// No top-up until ``resume()``: credit granted before a drain is answered would cancel it.
    mutating func pause() {
        self.isPaused = true
    }

    mutating func resume() {
        self.isPaused = false
    }

    /// The peer has given back all the credit that it did not use.
    mutating func drained() {
        self.outstanding = 0
    }

    /// The peer has given back credit after the drain was given up.
    mutating func giveBack(_ credit: Int) {
        self.outstanding = max(0, self.outstanding - credit)
    }
}
