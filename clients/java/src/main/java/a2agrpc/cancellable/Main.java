package a2agrpc.cancellable;

import com.lf.a2a.v1.AgentInterface;
import io.grpc.StatusRuntimeException;
import java.io.IOException;
import java.net.URI;
import java.net.URISyntaxException;
import java.util.List;
import java.util.concurrent.Callable;
import java.util.logging.Level;
import java.util.logging.Logger;
import picocli.CommandLine;
import picocli.CommandLine.Command;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.ParameterException;
import picocli.CommandLine.Spec;
import picocli.CommandLine.TypeConversionException;

/** The command line: flags, errors in one line, exit codes (0 done, 1 failed, 2 bad flags). */
@Command(
        name = "cancellable",
        description = "Starts a long task, follows its progress, cancels it half way: with nothing but the generated stubs.",
        abbreviateSynopsis = true,
        sortOptions = false)
final class Main implements Callable<Integer> {
    /** Kept: a logger that nobody holds forgets its level. */
    private static final Logger GRPC = Logger.getLogger("io.grpc");

    @Spec
    private CommandSpec command;

    @Option(names = "--card", paramLabel = "URL", defaultValue = "http://127.0.0.1:8080",
            description = "Where the card is; default: ${DEFAULT-VALUE}")
    private URI site;

    @Option(names = "--cancel-at", paramLabel = "PROGRESS", defaultValue = "0.5",
            description = "0 to 1; default: ${DEFAULT-VALUE}")
    private double cancelAt;

    @Option(names = "--steps", paramLabel = "N", defaultValue = "10", description = "default: ${DEFAULT-VALUE}")
    private int steps;

    @Option(names = "--step-seconds", paramLabel = "SECONDS", defaultValue = "0.5",
            description = "default: ${DEFAULT-VALUE}")
    private double stepSeconds;

    @Option(names = "--help", usageHelp = true, description = "Show this message and exit.")
    private boolean help;

    public static void main(String[] arguments) {
        GRPC.setLevel(Level.OFF); // why a call failed is in its status
        CommandLine commandLine = new CommandLine(new Main());
        commandLine.registerConverter(URI.class, Main::site);
        commandLine.setParameterExceptionHandler((error, given) -> {
            System.err.println("Error: " + error.getMessage() + ". Try --help.");
            return 2;
        });
        commandLine.setExecutionExceptionHandler((error, line, parsed) -> {
            if (error instanceof IOException) {
                System.err.println("Error: " + error.getMessage().replaceAll("\\s*\\R\\s*", " "));
                return 1;
            }
            throw error; // a bug: its stack trace is wanted
        });
        System.exit(commandLine.execute(arguments));
    }

    @Override
    public Integer call() throws Exception {
        check(cancelAt >= 0 && cancelAt <= 1, "--cancel-at", "from 0 to 1");
        check(steps >= 1, "--steps", "at least 1");
        check(stepSeconds >= 0 && stepSeconds < Double.POSITIVE_INFINITY, "--step-seconds", "0 or more");

        AgentInterface where = Cards.grpcInterface(Cards.fetch(site), site);
        try (Agent agent = Agent.connect(where)) {
            new Demo(agent, cancelAt).run(steps, stepSeconds);
        } catch (StatusRuntimeException error) {
            throw new IOException(where.getUrl() + ": " + describe(error), error);
        }
        return 0;
    }

    private void check(boolean holds, String option, String wanted) {
        if (!holds) {
            throw new ParameterException(command.commandLine(), option + " must be " + wanted);
        }
    }

    private static URI site(String given) {
        try {
            URI url = new URI(given);
            if (url.getHost() != null && List.of("http", "https").contains(url.getScheme())) {
                return url;
            }
        } catch (URISyntaxException error) {
            // said below
        }
        throw new TypeConversionException("'" + given + "' is not an http or https URL");
    }

    /** `UNAVAILABLE: io exception: Connection refused`: the status's own words rarely name the reason. */
    private static String describe(StatusRuntimeException error) {
        Throwable cause = error.getCause();
        return error.getStatus().getCode()
                + ": " + error.getStatus().getDescription()
                + (cause == null ? "" : ": " + cause.getMessage());
    }
}
