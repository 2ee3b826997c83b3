/// How many messages of one receiver may be unsettled, and how much credit that leaves.
struct UnsettledLimit {
    /// Of a link whose messages are gone from this side with the decision.
    static let none = UnsettledLimit(.max)
    /// The least credit of one grant while the peer has some: each grant is a frame.
    static let leastGrant = 64

    /// The most messages; `.max` for any number.
    let most: Int

    init(_ most: Int) {
        self.most = most
    }

    /// How many more messages the peer may be let send.
    ///
    /// - Parameters:
    ///   - unsettled: The messages that have arrived and are not settled by both sides.
    ///   - outstanding: The credit that the peer has.
    func room(unsettled: Int, outstanding: Int) -> Int {
        self.most == .max ? .max : max(0, self.most - unsettled - outstanding)
    }

    /// The most credit to grant now: little room is granted only when the peer has no credit left.
    func credit(unsettled: Int, outstanding: Int) -> Int {
        let room = self.room(unsettled: unsettled, outstanding: outstanding)
        return outstanding == 0 || room >= min(Self.leastGrant, max(1, self.most / 4)) ? room : 0
    }
}
