import com.github.houbb.sensitive.word.bs.SensitiveWordBs;
import com.sun.management.OperatingSystemMXBean;
import java.io.IOException;
import java.lang.management.ManagementFactory;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Locale;
import java.util.function.Predicate;
import toolgood.words.IllegalWordsSearch;

/**
 * Filters messages with a Java library, pass after pass: {@code java Filter.java LIBRARY LINES WORDS SECONDS}.
 * The protocol is that of program.py: texts are parted by NUL, seconds are processor time of the whole process.
 */
public final class Filter {
    private Filter() {}

    record Run(long messages, double seconds, long found) {
        String json() {
            return String.format(
                Locale.ROOT, "{\"messages\": %d, \"seconds\": %.6f, \"found\": %d}", messages, seconds, found);
        }
    }

    public static void main(String[] args) throws IOException {
        List<String> lines = read(args[1]);
        Predicate<String> hit = library(args[0], read(args[2]));
        double seconds = Double.parseDouble(args[3]);
        run(lines, hit, seconds); // what the compiler makes of it is only known after a while
        System.out.println(run(lines, hit, seconds).json());
    }

    /** Both as their manuals set them up: they fold by their defaults, and know no words but ours. */
    static Predicate<String> library(String name, List<String> words) {
        if (name.equals("sensitive-word")) {
            SensitiveWordBs filter = SensitiveWordBs.newInstance().wordDeny(() -> words).wordAllow(() -> List.of()).init();
            return line -> !filter.findAll(line).isEmpty();
        }
        if (name.equals("toolgood-words")) {
            IllegalWordsSearch search = new IllegalWordsSearch();
            search.SetKeywords(words);
            return line -> !search.FindAll(line).isEmpty();
        }
        throw new IllegalArgumentException("no library " + name);
    }

    static Run run(List<String> lines, Predicate<String> hit, double seconds) {
        long messages = 0;
        long found = 0;
        double began = spent();
        double took = 0;
        while (messages == 0 || took < seconds) {
            found = lines.stream().filter(hit).count();
            messages += lines.size();
            took = spent() - began;
        }
        return new Run(messages, took, found);
    }

    static double spent() {
        return ((OperatingSystemMXBean) ManagementFactory.getOperatingSystemMXBean()).getProcessCpuTime() / 1e9;
    }

    static List<String> read(String file) throws IOException {
        return List.of(Files.readString(Path.of(file)).split("\0", -1));
    }
}
