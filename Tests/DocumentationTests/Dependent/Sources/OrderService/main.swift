import QpidProton

print(AMQPURL.defaultPort)
