// swift-tools-version: 6.2
// SPDX-License-Identifier: Apache-2.0
// Tested with Swift 6.3.1. No test has run with 6.2, the oldest version that the first line accepts.
import PackageDescription

// Warnings are errors where the project is tested; a user's build must not fail for a newer compiler's warning.
let warnings: [SwiftSetting] = Context.environment["CI"] == nil ? [] : [.treatAllWarnings(as: .error)]

let swiftSettings: [SwiftSetting] =
    [
        .enableUpcomingFeature("ExistentialAny"),
        .enableUpcomingFeature("MemberImportVisibility"),
        .enableUpcomingFeature("InternalImportsByDefault"),
        .enableUpcomingFeature("NonisolatedNonsendingByDefault"),
    ] + warnings

/// What the trait ServiceLifecycle adds.
let lifecycle: [Target.Dependency] = [
    .product(
        name: "ServiceLifecycle",
        package: "swift-service-lifecycle",
        condition: .when(traits: ["ServiceLifecycle"])
    )
]

/// What the trait Configuration adds.
let configuration: [Target.Dependency] = [
    .product(name: "Configuration", package: "swift-configuration", condition: .when(traits: ["Configuration"]))
]

/// One of the executables in Examples/.
func example(_ name: String, _ others: [Target.Dependency] = []) -> Target {
    .executableTarget(
        name: name,
        dependencies: [
            "ExampleSupport",
            "QpidProton",
            .product(name: "ArgumentParser", package: "swift-argument-parser"),
            .product(name: "NIOConcurrencyHelpers", package: "swift-nio"),
            .product(name: "NIOCore", package: "swift-nio"),
        ] + others,
        path: "Examples/\(name)",
        swiftSettings: swiftSettings
    )
}

/// The examples, and the tests with sockets and processes.
let programs: [Target] = [
    .target(
        name: "ExampleSupport",
        dependencies: [
            "QpidProton",
            .product(name: "ArgumentParser", package: "swift-argument-parser"),
            .product(name: "Logging", package: "swift-log"),
            .product(name: "NIOConcurrencyHelpers", package: "swift-nio"),
            .product(name: "NIOCore", package: "swift-nio"),
            .product(name: "NIOPosix", package: "swift-nio"),
        ],
        path: "Examples/Support",
        swiftSettings: swiftSettings
    ),
    .target(
        name: "ExampleFiles",
        dependencies: [
            "ExampleSupport",
            "QpidProton",
            .product(name: "Crypto", package: "swift-crypto"),
            .product(name: "NIOCore", package: "swift-nio"),
            .product(name: "NIOPosix", package: "swift-nio"),
        ],
        path: "Examples/Files",
        swiftSettings: swiftSettings
    ),
    example("sender", ["ExampleFiles"]),
    example("receiver", ["ExampleFiles", .product(name: "NIOPosix", package: "swift-nio")]),
    example("broker", [.product(name: "DequeModule", package: "swift-collections")]),
    example("demo", ["ExampleFiles"]),
    example(
        "service",
        lifecycle + configuration + [
            "QpidProtonRabbitMQ",
            .product(
                name: "UnixSignals",
                package: "swift-service-lifecycle",
                condition: .when(traits: ["ServiceLifecycle"])
            ),
            .product(name: "CoreMetrics", package: "swift-metrics"),
            .product(name: "Logging", package: "swift-log"),
            .product(name: "NIOHTTP1", package: "swift-nio"),
            .product(name: "NIOPosix", package: "swift-nio"),
        ]
    ),
    .executableTarget(
        name: "chaos",
        dependencies: [
            "QpidProton",
            "QpidProtonRabbitMQ",
            "TestSupport",
            .product(name: "ArgumentParser", package: "swift-argument-parser"),
            .product(name: "NIOConcurrencyHelpers", package: "swift-nio"),
        ],
        path: "Tests/Chaos",
        swiftSettings: swiftSettings
    ),
    .testTarget(
        name: "IntegrationTests",
        dependencies: [
            "QpidProton",
            "QpidProtonRabbitMQ",
            "TestSupport",
            .product(name: "NIOConcurrencyHelpers", package: "swift-nio"),
            .product(name: "NIOCore", package: "swift-nio"),
            .product(name: "NIOPosix", package: "swift-nio"),
            .product(name: "NIOSSL", package: "swift-nio-ssl"),
            .product(name: "Logging", package: "swift-log"),
            .product(name: "MetricsTestKit", package: "swift-metrics"),
            .product(
                name: "ServiceLifecycleTestKit",
                package: "swift-service-lifecycle",
                condition: .when(traits: ["ServiceLifecycle"])
            ),
        ] + lifecycle,
        exclude: ["Peers"],
        swiftSettings: swiftSettings
    ),
    .testTarget(
        name: "DocumentationTests",
        dependencies: ["TestSupport"],
        exclude: ["Dependent"],
        swiftSettings: swiftSettings
    ),
]

/// Whether only the library and its unit tests are built, which takes half the time: `./dev/test --unit`.
let isUnit = Context.environment["QPID_PROTON_UNIT_TESTS"] != nil

let package = Package(
    name: "swift-qpid-proton",
    platforms: [.macOS(.v15)],
    products: [
        .library(name: "QpidProton", targets: ["QpidProton"]),
        .library(name: "QpidProtonRabbitMQ", targets: ["QpidProtonRabbitMQ"]),
    ],
    traits: [
        // On by default: nearly every program that needs a broker is a service, which needs both. `traits: []` turns them
        // off, and their packages are then neither fetched nor built.
        .default(enabledTraits: ["ServiceLifecycle", "Configuration"]),
        .trait(
            name: "ServiceLifecycle",
            description: "The client, the consumer and the listener are services of swift-service-lifecycle."
        ),
        .trait(
            name: "Configuration",
            description: "The settings of a client can be read with swift-configuration."
        ),
    ],
    dependencies: [
        .package(url: "https://github.com/apple/swift-nio.git", from: "2.101.0"),
        .package(url: "https://github.com/apple/swift-nio-ssl.git", from: "2.37.0"),
        .package(url: "https://github.com/apple/swift-log.git", from: "1.16.0"),
        .package(url: "https://github.com/apple/swift-metrics.git", from: "2.13.0"),
        .package(url: "https://github.com/apple/swift-collections.git", from: "1.6.0"),
        .package(url: "https://github.com/apple/swift-argument-parser.git", from: "1.8.0"),
        .package(url: "https://github.com/apple/swift-crypto.git", from: "4.5.0"),
        .package(url: "https://github.com/swift-server/swift-service-lifecycle.git", from: "2.13.0"),
        .package(url: "https://github.com/apple/swift-configuration.git", from: "1.4.0", traits: []),
        .package(url: "https://github.com/swiftlang/swift-docc-plugin.git", from: "1.5.0"),
    ],
    targets: [
        .systemLibrary(
            name: "CProton",
            providers: [.apt(["libqpid-proton11-dev"]), .brew(["qpid-proton"])]
        ),
        .target(
            name: "QpidProton",
            dependencies: [
                "CProton",
                .product(name: "NIOCore", package: "swift-nio"),
                .product(name: "NIOConcurrencyHelpers", package: "swift-nio"),
                .product(name: "NIOPosix", package: "swift-nio"),
                .product(name: "NIOSSL", package: "swift-nio-ssl"),
                .product(name: "Logging", package: "swift-log"),
                .product(name: "CoreMetrics", package: "swift-metrics"),
                .product(name: "DequeModule", package: "swift-collections"),
            ] + lifecycle + configuration,
            swiftSettings: swiftSettings
        ),
        .target(name: "QpidProtonRabbitMQ", dependencies: ["QpidProton"], swiftSettings: swiftSettings),
        // The helpers that the test targets and chaos share. No product contains them.
        .target(
            name: "TestSupport",
            dependencies: [
                "QpidProton",
                .product(name: "NIOConcurrencyHelpers", package: "swift-nio"),
                .product(name: "NIOCore", package: "swift-nio"),
                .product(name: "NIOPosix", package: "swift-nio"),
                .product(name: "Logging", package: "swift-log"),
            ],
            path: "Tests/Support",
            swiftSettings: swiftSettings
        ),
        .testTarget(
            name: "QpidProtonTests",
            dependencies: [
                "QpidProton",
                "TestSupport",
                "CProton",
                .product(name: "NIOEmbedded", package: "swift-nio"),
                .product(name: "Logging", package: "swift-log"),
                .product(name: "MetricsTestKit", package: "swift-metrics"),
                .product(name: "CoreMetrics", package: "swift-metrics"),
            ] + configuration,
            exclude: ["Golden/Traces"],
            swiftSettings: swiftSettings
        ),
        .testTarget(
            name: "QpidProtonRabbitMQTests",
            dependencies: ["QpidProton", "QpidProtonRabbitMQ", "TestSupport"],
            swiftSettings: swiftSettings
        ),
    ] + (isUnit ? [] : programs),
    swiftLanguageModes: [.v6]
)
