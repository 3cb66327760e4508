#!/bin/sh
# Least rights on the broker: who may do what on our topics, as kafka-acls.sh of Apache Kafka 4 sets it. What is not
# granted here is denied, where the broker has an authorizer and allow.everyone.if.no.acl.found is not set.
#
#   BOOTSTRAP=broker-1:9093 COMMAND_CONFIG=admin.properties deploy/acl/kafka-acls.sh
#
# Users are made beforehand, one by one, each with a password of its own:
#   kafka-configs.sh --bootstrap-server … --alter --entity-type users --entity-name qingliu-worker \
#     --add-config 'SCRAM-SHA-512=[password=…]'
# Running it again changes nothing. Read and Write include Describe; a consumer of a group needs Read on the group, too.
set -eu
: "${BOOTSTRAP:?is not set: host:port of a broker}"
PREFIX="${PREFIX:-}"              # QINGLIU_TOPIC_PREFIX
WORKERS="${WORKERS:-qingliu}"     # QINGLIU_GROUP_ID
GAMES="${GAMES:-game-}"           # groups of game servers begin so

allow() {
  user="$1"
  shift
  kafka-acls.sh --bootstrap-server "$BOOTSTRAP" ${COMMAND_CONFIG:+--command-config "$COMMAND_CONFIG"} \
    --add --allow-principal "User:$user" "$@"
}

world="--topic ${PREFIX}chat.world"
private="--topic ${PREFIX}chat.private"
commands="--topic ${PREFIX}moderation.commands"
enforcement="--topic ${PREFIX}moderation.enforcement"
cases="--topic ${PREFIX}moderation.cases"
acks="--topic ${PREFIX}moderation.acks"
dead="--topic ${PREFIX}moderation.dead-letters"
appeals="--topic ${PREFIX}moderation.appeals"
audit="--topic ${PREFIX}moderation.audit"

# Names hold no spaces, so these split into words as they should.
# shellcheck disable=SC2086
{
  # Game servers say what players said, and do as they are told. They order nothing.
  allow qingliu-game $world $private $acks --operation Write
  allow qingliu-game $enforcement $appeals $dead --operation Read
  allow qingliu-game --group "$GAMES" --resource-pattern-type prefixed --operation Read

  # Workers. A mass revert orders its own next page, so they write commands, too.
  allow qingliu-worker $world $private $commands --operation Read
  allow qingliu-worker $enforcement $cases $appeals $audit $dead $commands --operation Write
  allow qingliu-worker --group "$WORKERS" --operation Read

  # GM tools, appeals, and the people who type `qingliu revert`: they order, and see what came of it.
  allow qingliu-gm $commands $audit --operation Write
  allow qingliu-gm $enforcement $cases $appeals $dead --operation Read

  # Who sends dead letters again, once they are mended, can write chat: nobody has this right by the way.
  allow qingliu-replay $dead --operation Read
  allow qingliu-replay $world $private $commands $audit --operation Write

  # The observer sends a canary's message, and reads what comes of it and of everything else; it also asks for lag.
  allow qingliu-observer $world --operation Write
  allow qingliu-observer $enforcement $acks --operation Read
  allow qingliu-observer $private $commands --operation Describe
  allow qingliu-observer --group "$WORKERS" --operation Describe

  # Who publishes rules is on record; the rules themselves go by the store.
  allow qingliu-rules $audit --operation Write

  # Auditors read all that was decided and ordered, and write nothing.
  allow qingliu-auditor $commands $enforcement $cases $acks $appeals $audit $dead --operation Read

  # Monitoring sees how far groups are behind, and no word that was said.
  allow qingliu-monitor $world $private $commands $enforcement $cases $acks $appeals $audit $dead --operation Describe
  allow qingliu-monitor --group "$WORKERS" --operation Describe
  allow qingliu-monitor --group "$GAMES" --resource-pattern-type prefixed --operation Describe
}
