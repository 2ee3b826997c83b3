/// How a close divides its limit.
enum CloseLimit {
    /// How long the work before the close may take: the rest, a fortieth and one second at most, is for the peer's answer.
    static func work(within limit: Duration) -> Duration {
        limit - min(limit / 40, .seconds(1))
    }
}
