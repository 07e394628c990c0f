package a2agrpc.cancellable;

import com.google.protobuf.Any;
import com.google.rpc.ErrorInfo;
import com.lf.a2a.v1.Artifact;
import com.lf.a2a.v1.StreamResponse;
import com.lf.a2a.v1.Task;
import com.lf.a2a.v1.TaskState;
import io.grpc.Context;
import io.grpc.Context.CancellableContext;
import io.grpc.Status;
import io.grpc.StatusRuntimeException;
import io.grpc.protobuf.StatusProto;
import java.io.IOException;
import java.util.Iterator;
import java.util.StringJoiner;
import java.util.TreeMap;

/** What a client does with a task, in three scenes: cancel it, misname it, leave it to itself. */
final class Demo {
    private final Agent agent;
    private final double cancelAt;

    Demo(Agent agent, double cancelAt) {
        this.agent = agent;
        this.cancelAt = cancelAt;
    }

    void run(int steps, double stepSeconds) throws Exception {
        followAndCancel(agent.start(steps, stepSeconds).getId());
        askForUnknown("no-such-task");
        leave(agent.start(60, 1).getId()); // a minute: it must be at work still when we look at it
    }

    /** Cancels while the stream is open, on the same connection; the stream then ends by itself. */
    private void followAndCancel(String id) {
        boolean canceling = false;
        for (Iterator<StreamResponse> events = agent.subscribe(id); events.hasNext(); ) {
            StreamResponse event = events.next();
            switch (event.getPayloadCase()) {
                case TASK, STATUS_UPDATE -> {
                    if (stateOf(event) != TaskState.TASK_STATE_SUBMITTED) {
                        System.out.println("[STATUS] " + name(stateOf(event)));
                    }
                }
                case ARTIFACT_UPDATE -> {
                    Artifact artifact = event.getArtifactUpdate().getArtifact();
                    if (!artifact.getName().equals("progress")) {
                        continue;
                    }
                    double progress = progressOf(artifact);
                    System.out.println("[DATA ] progress: " + progress);
                    if (progress >= cancelAt && !canceling) {
                        canceling = true;
                        System.out.println("Canceling task " + id);
                        agent.cancel(id);
                    }
                }
                default -> {} // a message: the agent of this example sends none
            }
        }
    }

    /** A2A tells its errors apart by the ErrorInfo in the status, not by the status code. */
    private void askForUnknown(String id) throws IOException {
        try {
            agent.get(id);
        } catch (StatusRuntimeException error) {
            StringJoiner line = new StringJoiner(" ", "[ERROR] ", "").add(error.getStatus().getCode().name());
            for (Any detail : StatusProto.fromThrowable(error).getDetailsList()) {
                if (detail.is(ErrorInfo.class)) {
                    ErrorInfo info = detail.unpack(ErrorInfo.class);
                    line.add(info.getReason());
                    new TreeMap<>(info.getMetadataMap()).forEach((key, value) -> line.add(key + "=" + value));
                }
            }
            System.out.println(line);
            return;
        }
        throw new IOException("the agent has a task '" + id + "'");
    }

    /** Leaving a stream is no cancellation: the task goes on. */
    private void leave(String id) throws Exception {
        CancellableContext reading = Context.current().withCancellation();
        Iterator<StreamResponse> events = reading.call(() -> agent.subscribe(id));
        Status.Code end = Status.Code.OK;
        try {
            while (events.hasNext()) {
                if (stateOf(events.next()) == TaskState.TASK_STATE_WORKING) {
                    reading.cancel(null);
                }
            }
        } catch (StatusRuntimeException error) {
            end = error.getStatus().getCode();
        } finally {
            reading.close();
        }
        Task task = agent.get(id);
        System.out.println("[LEFT ] stream " + end + ", task " + name(task.getStatus().getState()));
        agent.cancel(id);
    }

    /** UNSPECIFIED for an event without a state. */
    private static TaskState stateOf(StreamResponse event) {
        return switch (event.getPayloadCase()) {
            case TASK -> event.getTask().getStatus().getState();
            case STATUS_UPDATE -> event.getStatusUpdate().getStatus().getState();
            default -> TaskState.TASK_STATE_UNSPECIFIED;
        };
    }

    private static double progressOf(Artifact artifact) {
        return artifact.getParts(0).getData().getStructValue().getFieldsOrThrow("progress").getNumberValue();
    }

    private static String name(TaskState state) {
        return state.name().replaceFirst("^TASK_STATE_", "");
    }
}
